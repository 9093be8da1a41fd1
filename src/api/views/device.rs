//! A device as clients see it: without its token or endpoint.

use chrono::{DateTime, Utc};
use cura_app::devices::Device;
use cura_domain::device::{DeviceKind, Platform};
use poem_openapi::{Enum, Object};

/// What a device runs.
#[derive(Enum, Clone, Copy)]
#[oai(rename = "Platform", rename_all = "lowercase")]
pub(crate) enum PlatformView {
    /// iOS or iPadOS.
    Ios,
    /// Android.
    Android,
    /// A browser.
    Web,
}

/// How a device is reached.
#[derive(Enum, Clone, Copy)]
#[oai(rename = "DeviceKind", rename_all = "lowercase")]
pub(crate) enum DeviceKindView {
    /// By a registration token of Firebase Cloud Messaging.
    Fcm,
    /// By a Firebase installation id.
    Fid,
    /// By the Web Push standard.
    WebPush,
}

/// A device that pushes go to.
#[derive(Object)]
#[oai(rename = "Device")]
pub(crate) struct DeviceView {
    /// The id of the device.
    id: i64,
    /// What it runs.
    platform: PlatformView,
    /// How it is reached.
    kind: DeviceKindView,
    /// The name that the client gave it.
    device_name: Option<String>,
    /// Whether pushes go to it: not if it was not seen for long, or belongs to another sender.
    is_active: bool,
    /// Whether the session of this request registered it.
    current: bool,
    /// When it was registered or its session was refreshed, to the day.
    last_active: DateTime<Utc>,
    /// When it was registered first.
    created_at: DateTime<Utc>,
}

impl From<PlatformView> for Platform {
    fn from(platform: PlatformView) -> Self {
        match platform {
            PlatformView::Ios => Self::Ios,
            PlatformView::Android => Self::Android,
            PlatformView::Web => Self::Web,
        }
    }
}

impl From<Device> for DeviceView {
    fn from(device: Device) -> Self {
        Self {
            id: device.id.0,
            platform: match device.platform {
                Platform::Ios => PlatformView::Ios,
                Platform::Android => PlatformView::Android,
                Platform::Web => PlatformView::Web,
            },
            kind: match device.kind {
                DeviceKind::Fcm => DeviceKindView::Fcm,
                DeviceKind::Fid => DeviceKindView::Fid,
                DeviceKind::WebPush => DeviceKindView::WebPush,
            },
            device_name: device.name,
            is_active: device.is_active,
            current: device.is_current,
            last_active: device.last_active,
            created_at: device.created_at,
        }
    }
}
