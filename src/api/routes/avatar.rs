//! `/users/me/avatar`: the picture of the caller.

use cura_app::App;
use cura_app::files::AvatarError;
use cura_domain::switch::Switch;
use poem::Request;
use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use crate::http::caller::SignedIn;
use crate::http::multipart::PictureForm;
use crate::http::problem::Problem;
use crate::realtime::user_connections::UserConnections;
use crate::routes::tag::Tag;
use crate::views::user::UserView;

pub(crate) struct AvatarApi;

#[derive(ApiResponse)]
enum AvatarDeleted {
    /// There is no avatar any more.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/users", tag = "Tag::Accounts")]
impl AvatarApi {
    /// Set my avatar
    ///
    /// JPEG, PNG, GIF or WebP, by its content, at most 10 MiB, 50 million pixels, 12,000 pixels a side and 1,000 frames. The square in
    /// its middle is made anew in two sizes, without where and when it was taken; nothing else is kept. `avatar_url` is a new one then,
    /// and the one before leads to nothing. 403 `uploads_closed` while an operator lets nobody upload. Costs the upload limit, 10 a
    /// minute by user unless set otherwise; 4 files of a user may arrive at once. Sending the same picture again replaces it by itself.
    #[oai(path = "/me/avatar", method = "post", operation_id = "setAvatar")]
    async fn set(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        connections: Data<&UserConnections>,
        request: &Request,
        form: PictureForm,
    ) -> Result<Json<UserView>, Problem> {
        app.switches.require(Switch::Uploads)?;
        let place = connections.open_upload(caller.0.user)?;
        let received = form.0.receive(request, app.files.arrival()).await?;
        Ok(Json(app.avatars.set(caller.0, received.file, place).await?.into()))
    }

    /// Delete my avatar
    ///
    /// Removes the picture; its URL leads to nothing at once. It is a 204 also when there is none, so it can be repeated. Costs one
    /// request of the default limit.
    #[oai(path = "/me/avatar", method = "delete", operation_id = "deleteAvatar")]
    async fn delete(&self, caller: SignedIn, app: Data<&App>) -> Result<AvatarDeleted, Problem> {
        app.avatars.delete(caller.0).await?;
        Ok(AvatarDeleted::Done)
    }
}

impl From<AvatarError> for Problem {
    fn from(error: AvatarError) -> Self {
        match error {
            AvatarError::Upload(error) => error.into(),
            AvatarError::NotAPicture => {
                let detail = "An avatar is a picture: JPEG, PNG, GIF or WebP.";
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_file_type", detail)
            }
            AvatarError::TooLarge => {
                let detail = "The picture has more than 50 million pixels, 12,000 pixels a side, or 1,000 frames.";
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
            }
            AvatarError::Damaged => {
                let detail = "The picture cannot be read; it may be damaged.";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "damaged_file", detail)
            }
            AvatarError::Unavailable => Self::storage_unavailable(),
        }
    }
}
