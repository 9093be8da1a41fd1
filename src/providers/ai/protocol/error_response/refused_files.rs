//! Whether an error refuses the pictures of a request, or its PDFs.

use super::words::Words;
use crate::ai::prompt::Prompt;
use crate::ai::request_form::RequestPart;

/// What says that a model takes no pictures.
const NO_PICTURES: [&str; 22] = [
    // llama.cpp, which says it with a 500
    "image input is not supported",
    "unsupported content part type",
    // OpenAI
    "image url is only supported by certain models",
    "invalid content type image url",
    "does not support image",
    "do not support image",
    "not support images",
    "image inputs are not supported",
    "image input is not enabled",
    // vLLM
    "not a multimodal model",
    "at most 0 image",
    // DeepSeek, and others that know text only
    "unknown variant image url",
    "content must be a string",
    "content value must be a string",
    "should be a valid string",
    "expected a string",
    "invalid type sequence expected a string",
    // OpenRouter
    "endpoints found that support image input",
    // Ollama
    "missing data required for image input",
    "does not support vision",
    "vision is not supported",
    "multimodal is not supported",
];

/// What says that a picture of this request cannot be read, or that there are too many: others' are taken.
const BAD_PICTURE: [&str; 10] = [
    "could not process image",
    "failed to process image",
    "failed to load image",
    "failed to decode image",
    "cannot identify image",
    "unsupported image",
    "invalid image",
    "image exceeds",
    "image dimensions exceed",
    "image s may be provided",
];

/// How PDFs are named.
const PDF: [&str; 8] = [
    " pdf ",
    " pdfs ",
    "file content",
    "file data",
    "input file",
    "variant file ",
    "type file ",
    "document content",
];

/// What says, beside a PDF's name, that the model takes none.
const NOT_TAKEN: [&str; 5] = [
    "support",
    "unknown variant",
    "unrecognized",
    "not enabled",
    "invalid type",
];

/// Which files a refusal of `prompt` with this status is about, if it has such files. What is said counts only beside a quotation, and
/// where the prompt is not known (`None`, within an answer), for the asker alone.
pub(super) fn refused_files(status: Option<u16>, words: &Words, prompt: Option<&Prompt>) -> Option<RequestPart> {
    let Some(prompt) = prompt else {
        return words.say(&NO_PICTURES).then_some(RequestPart::ThesePictures);
    };
    let holds = prompt.holds();
    // llama.cpp refuses with a 500, OpenRouter with a 404.
    if !matches!(status?, 400 | 404 | 413 | 422 | 500 | 501) {
        return None;
    }
    if holds.pdfs && words.say_of_everybody(&PDF) {
        let is_about_all = words.say_of_everybody(&NOT_TAKEN);
        return Some(if is_about_all {
            RequestPart::Pdfs
        } else {
            RequestPart::ThesePdfs
        });
    }
    if holds.pictures && words.say_of_everybody(&NO_PICTURES) {
        return Some(RequestPart::Pictures);
    }
    (holds.pictures && words.say(&BAD_PICTURE)).then_some(RequestPart::ThesePictures)
}

/// Which files make a request too large, whose size alone was refused (413), by a server or by a proxy before it.
pub(super) fn too_large_files(status: Option<u16>, prompt: Option<&Prompt>) -> Option<RequestPart> {
    let holds = prompt.filter(|_| status == Some(413))?.holds();
    if holds.pdfs {
        return Some(RequestPart::ThesePdfs);
    }
    holds.pictures.then_some(RequestPart::ThesePictures)
}

#[cfg(test)]
mod tests {
    use cura_domain::FileId;
    use cura_domain::file::{AttachedFile, FileStatus};
    use cura_domain::file_type::FileType;
    use cura_domain::message::Role;
    use cura_domain::prompt::{Given, PromptFile, PromptMessage};

    use super::*;
    use crate::ai::error::Failure;
    use crate::ai::protocol::error_response::ErrorResponse;

    fn asking(question: &str, file_type: FileType, given: Given) -> Prompt {
        let file = AttachedFile {
            id: FileId(1),
            name: "a".to_owned(),
            file_type,
            status: FileStatus::Clean,
        };
        let files = vec![PromptFile { file, given }];
        let message = PromptMessage {
            files,
            ..PromptMessage::plain(Role::User, question)
        };
        Prompt::of_text(vec![message], None)
    }

    fn about_picture(question: &str) -> Prompt {
        asking(question, FileType::Jpeg, Given::Picture { tokens: 1 })
    }

    fn part(status: u16, body: &str, prompt: &Prompt) -> Option<RequestPart> {
        match ErrorResponse::with(status, body).failure(Some(prompt)) {
            Failure::RefusedPart { part, .. } => Some(part),
            _ => None,
        }
    }

    #[test]
    fn a_model_that_takes_no_pictures_is_recognised_whatever_its_server() {
        for (status, body) in [
            (
                500,
                r#"{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj","type":"server_error"}}"#,
            ),
            (
                500,
                r#"{"error":{"message":"Unsupported content part type: \"image_url\"","code":500}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"Invalid content type. image_url is only supported by certain models.","type":"invalid_request_error","param":"messages.[1].content.[0].type"}}"#,
            ),
            (
                400,
                r#"{"object":"error","message":"some-model is not a multimodal model","code":400}"#,
            ),
            (
                400,
                r#"{"error":{"message":"At most 0 image(s) may be provided in one prompt.","code":400}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"'messages.1' : for 'role:user' the following must be satisfied[('messages.1.content' : value must be a string)]"}}"#,
            ),
            (
                422,
                "Failed to deserialize the JSON body into the target type: messages[1]: unknown variant `image_url`, expected `text` at line 1 column 99",
            ),
            (
                404,
                r#"{"error":{"message":"No endpoints found that support image input","code":404}}"#,
            ),
            (
                500,
                r#"{"error":{"message":"this model is missing data required for image input"}}"#,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"claude-x does not support image input"}}"#,
            ),
        ] {
            assert_eq!(
                part(status, body, &about_picture("What is it?")),
                Some(RequestPart::Pictures),
                "{body}"
            );
            let plain = Prompt::of_text(vec![PromptMessage::plain(Role::User, "Hi")], None);
            assert_eq!(part(status, body, &plain), None, "without a picture: {body}");
        }
    }

    #[test]
    fn one_picture_that_cannot_be_read_says_nothing_of_others() {
        let body = r#"{"type":"error","error":{"type":"invalid_request_error","message":"Could not process image"}}"#;
        assert_eq!(part(400, body, &about_picture("Hm?")), Some(RequestPart::ThesePictures));
    }

    #[test]
    fn pdfs_are_refused_by_themselves() {
        let prompt = asking("Hm?", FileType::Pdf, Given::Pdf { pages: 1, tokens: 1 });
        let body = r#"{"error":{"message":"This model does not support PDF inputs.","type":"invalid_request_error"}}"#;
        assert_eq!(part(400, body, &prompt), Some(RequestPart::Pdfs));
        assert_eq!(part(400, body, &about_picture("Hm?")), None);
        for broken in [
            "The PDF specified was not valid.",
            "The PDF specified is password protected.",
        ] {
            let body = format!(r#"{{"error":{{"type":"invalid_request_error","message":"{broken}"}}}}"#);
            assert_eq!(
                part(400, &body, &prompt),
                Some(RequestPart::ThesePdfs),
                "others' are taken"
            );
        }
    }

    #[test]
    fn a_body_that_is_too_large_is_sent_without_pictures_before_its_text_is_shortened() {
        let body = "<html><h1>413 Request Entity Too Large</h1></html>";
        assert_eq!(part(413, body, &about_picture("Hm?")), Some(RequestPart::ThesePictures));
        let plain = Prompt::of_text(vec![PromptMessage::plain(Role::User, "Hi")], None);
        assert_eq!(part(413, body, &plain), None);
    }

    #[test]
    fn more_pictures_than_a_server_takes_are_these() {
        let body = r#"{"error":{"message":"At most 1 image(s) may be provided in one prompt.","code":400}}"#;
        assert_eq!(part(400, body, &about_picture("Hm?")), Some(RequestPart::ThesePictures));
    }

    #[test]
    fn what_a_person_wrote_refuses_nothing() {
        let said = "it says image input is not supported";
        let body = format!(r#"{{"error":{{"message":"bad request: {said}"}}}}"#);
        assert_eq!(part(400, &body, &about_picture(said)), None);
    }

    #[test]
    fn an_outage_stays_one() {
        let body = r#"{"error":{"message":"CUDA out of memory"}}"#;
        assert_eq!(part(500, body, &about_picture("Hm?")), None);
    }
}
