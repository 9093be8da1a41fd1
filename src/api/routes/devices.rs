//! `/devices`: where pushes go.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{GeneralPurposeConfig, URL_SAFE_NO_PAD};
use cura_app::App;
use cura_app::devices::{self, DeviceError, NewDevice, PushServices};
use cura_domain::DeviceId;
use cura_domain::device::{DeviceAddress, InvalidAddress, Subscription};
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::http::caller::SignedIn;
use crate::http::payload::JsonBody;
use crate::http::payload::checked::{Checked, DeviceNameField};
use crate::http::problem::{FieldError, Problem};
use crate::routes::tag::Tag;
use crate::views::device::{DeviceView, PlatformView};

/// Browsers write keys without padding, some libraries with it.
const KEYS: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(crate) struct DevicesApi;

/// A device, reached by exactly one of `fcm_token`, `fid` and `subscription`.
#[derive(Object)]
struct RegisterDeviceRequest {
    /// A registration token of Firebase Cloud Messaging.
    #[oai(validator(max_length = 4096))]
    fcm_token: Option<String>,
    /// A Firebase installation id.
    #[oai(validator(max_length = 256))]
    fid: Option<String>,
    /// What the browser's `PushManager.subscribe` returned.
    subscription: Option<SubscriptionBody>,
    /// What the device runs.
    platform: PlatformView,
    /// A name by which its person knows it.
    device_name: Option<Checked<DeviceNameField>>,
    /// The device whose token this replaces.
    device_id: Option<i64>,
}

/// A browser's `PushSubscription`, as its `toJSON` writes it.
#[derive(Object)]
#[oai(rename = "PushSubscription")]
struct SubscriptionBody {
    /// The address at the browser's push service.
    #[oai(validator(max_length = 2048))]
    endpoint: String,
    /// Not used.
    #[oai(rename = "expirationTime")]
    expiration_time: Option<f64>,
    /// What pushes are encrypted with.
    keys: SubscriptionKeys,
}

/// The keys that a browser made for a subscription, in base64url.
#[derive(Object)]
#[oai(rename = "PushSubscriptionKeys")]
struct SubscriptionKeys {
    /// Its public key.
    #[oai(validator(max_length = 128))]
    p256dh: String,
    /// Its secret.
    #[oai(validator(max_length = 64))]
    auth: String,
}

/// The devices of the user.
#[derive(Object)]
struct DevicePage {
    /// All devices of the user.
    items: Vec<DeviceView>,
    /// Always null: all devices fit on one page.
    next_cursor: Option<String>,
    /// Always false.
    has_more: bool,
}

/// What pushes can go through.
#[derive(Object)]
struct PushConfig {
    /// Firebase Cloud Messaging; null if it is off.
    fcm: Option<FcmConfig>,
    /// Web Push; null if it is off.
    web_push: Option<WebPushConfig>,
}

/// Firebase Cloud Messaging.
#[derive(Object)]
struct FcmConfig {
    /// The project that apps have to belong to.
    project_id: String,
}

/// Web Push.
#[derive(Object)]
struct WebPushConfig {
    /// The `applicationServerKey` for `PushManager.subscribe`, in base64url.
    public_key: String,
}

#[derive(ApiResponse)]
enum DeviceRegistered {
    /// The device was known.
    #[oai(status = 200)]
    Known(Json<DeviceView>),
    /// The device is new.
    #[oai(status = 201)]
    New(Json<DeviceView>),
}

/// A test that is on its way.
#[derive(Object)]
#[oai(rename = "TestNotification")]
struct TestPush {
    /// By which its `push` event is known.
    push_id: i64,
}

#[derive(ApiResponse)]
enum TestAccepted {
    /// The test is on its way.
    #[oai(status = 202)]
    Accepted(Json<TestPush>),
}

#[derive(ApiResponse)]
enum DeviceRemoved {
    /// The device is removed.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/devices", tag = "Tag::Devices")]
impl DevicesApi {
    /// Register a device for pushes
    ///
    /// Exactly one of `fcm_token`, `fid` and `subscription` says where its pushes go. A new device is a 201, a known one a 200 and
    /// changed, so it can be repeated, and should be at every start of the app. With `device_id`, the token of that device is replaced.
    /// The device belongs to the session that registers it, and goes with it; a token that another account had registered leaves that
    /// account. A user has at most 20: beyond it, the one unseen longest leaves. Costs one request of the default limit.
    #[oai(path = "/register", method = "post", operation_id = "registerDevice")]
    async fn register(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        body: JsonBody<RegisterDeviceRequest>,
    ) -> Result<DeviceRegistered, Problem> {
        let new = body.0.check(app.devices.services())?;
        let (device, is_new) = app.devices.register(caller.0, &new).await?;
        let device = Json(device.into());
        Ok(if is_new {
            DeviceRegistered::New(device)
        } else {
            DeviceRegistered::Known(device)
        })
    }

    /// List my devices, the one seen last first
    ///
    /// All devices of the user on one page, at most 20. Tokens and endpoints are never shown. Costs one request of the default limit.
    #[oai(path = "/", method = "get", operation_id = "listDevices")]
    async fn list(&self, caller: SignedIn, app: Data<&App>) -> Result<Json<DevicePage>, Problem> {
        let devices = app.devices.list(caller.0).await?;
        Ok(Json(DevicePage {
            items: devices.into_iter().map(Into::into).collect(),
            next_cursor: None,
            has_more: false,
        }))
    }

    /// Get what an app needs to subscribe
    ///
    /// The Firebase project and the public key for Web Push of this server; null for what is off. It changes when the operators change
    /// it: ask at every start of the app. Costs one request of the default limit.
    #[oai(path = "/config", method = "get", operation_id = "getPushConfig")]
    async fn config(&self, _caller: SignedIn, app: Data<&App>) -> Result<Json<PushConfig>, Problem> {
        let services = app.devices.services();
        Ok(Json(PushConfig {
            fcm: services
                .firebase_project
                .clone()
                .map(|project_id| FcmConfig { project_id }),
            web_push: services.web_push_key.as_ref().map(|key| WebPushConfig {
                public_key: URL_SAFE_NO_PAD.encode(key),
            }),
        }))
    }

    /// Push a test to my devices
    ///
    /// Sends a notification to every active device of the user; a `push` event with the returned `push_id` says what came of it on each.
    /// Each request sends another one. At most 5 a minute by user. In production it is a 404 `not_found`.
    #[oai(path = "/test-notification", method = "post", operation_id = "testPush")]
    async fn test(&self, caller: SignedIn, app: Data<&App>) -> Result<TestAccepted, Problem> {
        let push_id = app.devices.test(caller.0).await?.ok_or_else(nothing_here)?;
        Ok(TestAccepted::Accepted(Json(TestPush { push_id })))
    }

    /// Remove a device
    ///
    /// No push goes to it any more; its session stays. One that is gone, or another user's, is a 404 `device_not_found`, which after a
    /// lost response means success. Costs one request of the default limit.
    #[oai(path = "/:device_id", method = "delete", operation_id = "deleteDevice")]
    async fn remove(&self, caller: SignedIn, app: Data<&App>, device_id: Path<i64>) -> Result<DeviceRemoved, Problem> {
        app.devices.remove(caller.0, DeviceId(device_id.0)).await?;
        Ok(DeviceRemoved::Done)
    }
}

impl RegisterDeviceRequest {
    /// What is registered; all that is wrong at once.
    fn check(self, services: &PushServices) -> Result<NewDevice, Problem> {
        let mut faults = Vec::new();
        let given = [
            self.fcm_token.is_some(),
            self.fid.is_some(),
            self.subscription.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            let detail = "Exactly one of fcm_token, fid and subscription is needed.";
            return Err(Problem::invalid(vec![FieldError::new("", "exactly_one", detail)]));
        }
        let token = self.fcm_token.map(|token| (DeviceAddress::fcm(token), "/fcm_token"));
        let id = self.fid.map(|id| (DeviceAddress::fid(id), "/fid"));
        let mut address = None;
        for (checked, pointer) in token.into_iter().chain(id) {
            match checked {
                Ok(checked) => address = Some(checked),
                Err(fault) => faults.push(invalid(pointer, fault)),
            }
        }
        if let Some(subscription) = self.subscription {
            address = subscription.check(services, &mut faults).map(DeviceAddress::WebPush);
        }
        let Some(address) = address.filter(|_| faults.is_empty()) else {
            return Err(Problem::invalid(faults));
        };
        Ok(NewDevice {
            platform: self.platform.into(),
            address,
            name: self.device_name.and_then(|name| name.0),
            replaces: self.device_id.map(DeviceId),
        })
    }
}

impl SubscriptionBody {
    fn check(self, services: &PushServices, faults: &mut Vec<FieldError>) -> Option<Subscription> {
        let endpoint = services.hosts.endpoint(&self.endpoint).map_err(|error| {
            faults.push(FieldError::new(
                "/subscription/endpoint",
                "endpoint_not_allowed",
                error.to_string(),
            ));
        });
        let (public, secret) = (KEYS.decode(self.keys.p256dh), KEYS.decode(self.keys.auth));
        let subscription =
            devices::subscription(endpoint.ok()?, public.unwrap_or_default(), secret.unwrap_or_default());
        subscription
            .map_err(|fault| {
                let pointer = match fault {
                    InvalidAddress::Secret => "/subscription/keys/auth",
                    _ => "/subscription/keys/p256dh",
                };
                faults.push(invalid(pointer, fault));
            })
            .ok()
    }
}

fn invalid(pointer: &str, fault: InvalidAddress) -> FieldError {
    FieldError::new(pointer, "invalid_format", fault.to_string())
}

fn nothing_here() -> Problem {
    Problem::not_found("not_found", "There is no resource at this path.")
}

impl From<DeviceError> for Problem {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::NotFound => Self::not_found("device_not_found", "Device not found."),
            DeviceError::NotSignedIn => Self::not_signed_in(),
            DeviceError::Suspended => Self::suspended(),
            DeviceError::Store(error) => error.into(),
        }
    }
}
