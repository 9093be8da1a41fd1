//! Whether an answer is one to what was asked.

use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;

use super::{Answer, Inspected, Picture};
use crate::pictures::{AVATAR_SIDES, MODEL_SIDE, THUMBNAIL_SIDE};
use crate::request::{Request, Wanted};
use crate::text::DocumentText;

impl Answer {
    /// Whether a child answers like this that does what it is asked.
    pub(super) fn fits(&self, request: Request) -> bool {
        match (self, request) {
            (Self::NoSandbox(_), _) | (Self::Confined(_), Request::Probe) => true,
            (Self::Refused(reason), Request::Inspect { .. }) => match reason {
                FileReason::Encrypted | FileReason::LimitsExceeded | FileReason::Unreadable => true,
                // For others to say.
                FileReason::Malware | FileReason::ScannerUnavailable => false,
            },
            (Self::Inspected(inspected), Request::Inspect { file_type, wanted, .. }) => {
                inspected.fits(file_type, wanted)
            }
            (Self::Confined(_), Request::Inspect { .. }) | (Self::Refused(_) | Self::Inspected(_), Request::Probe) => {
                false
            }
        }
    }
}

impl Inspected {
    /// A picture has become two pictures of the sizes that were wanted, and nothing else; a document has no picture.
    fn fits(&self, file_type: FileType, wanted: Wanted) -> bool {
        match (&self.large, &self.small) {
            (Some(large), Some(small)) => {
                let [large_side, small_side] = match wanted {
                    Wanted::Scan => [MODEL_SIDE, THUMBNAIL_SIDE],
                    Wanted::Avatar => AVATAR_SIDES,
                };
                let is_alone = self.text == DocumentText::default() && self.findings.is_empty();
                file_type.is_picture() && is_alone && large.fits(wanted, large_side) && small.fits(wanted, small_side)
            }
            (None, None) => !file_type.is_picture() && wanted == Wanted::Scan,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

impl Picture {
    fn fits(&self, wanted: Wanted, longest: u32) -> bool {
        let is_of_form = wanted == Wanted::Scan || self.width == self.height;
        is_of_form && self.width.max(self.height) <= longest
    }
}
