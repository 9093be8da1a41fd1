//! What people are told to send instead of a file that is not taken. One sentence names the file, the next says what to do.

/// Of anything that is not known.
pub const OTHER: &str =
    "This type of file is not supported. Send pictures as JPEG, PNG, GIF or WebP, and documents as PDF, DOCX or DOC.";
/// Of photos of iPhones and new Android phones.
pub const HEIC: &str = "HEIC photos are not supported. Save or share the photo as JPEG.";
/// Of pictures that browsers and cameras know and we do not.
pub const PICTURE: &str = "This type of picture is not supported. Save the picture as JPEG or PNG.";
/// Of films.
pub const VIDEO: &str = "Videos are not supported. Send a photo or a screenshot.";
/// Of sounds.
pub const SOUND: &str = "Sound files are not supported. Write down in your message what matters.";
/// Of files that hold files.
pub const ARCHIVE: &str = "Archives are not supported. Unpack the archive and send its files one by one.";
/// Of Excel and the like.
pub const SPREADSHEET: &str = "Spreadsheets are not supported. Save the spreadsheet as PDF.";
/// Of PowerPoint and the like.
pub const PRESENTATION: &str = "Presentations are not supported. Save the presentation as PDF.";
/// Of documents that other programs write.
pub const DOCUMENT: &str = "This type of document is not supported. Save the document as PDF or DOCX.";
/// Of mails that were saved as files.
pub const MAIL: &str = "Mail files are not supported. Save the mail as PDF, or copy its text into your message.";
/// Of web pages.
pub const WEB_PAGE: &str = "Web pages are not supported. Print the page as PDF.";
/// Of plain text.
pub const TEXT: &str = "Text files are not supported. Copy the text into your message, or save it as PDF.";
/// Of documents with programs in them.
pub const MACROS: &str = "Documents with macros are not supported. Save the document as DOCX, without macros.";
/// Of Word's templates.
pub const TEMPLATE: &str = "Templates are not supported. Save the template as a document (DOCX).";
/// Of documents that nobody can read without a password.
pub const PASSWORD: &str = "The document is protected by a password. Remove the password and send the document again.";
/// Of PDFs that begin later than at the first byte.
pub const LATE_PDF: &str =
    "Something stands before the beginning of this PDF. Open it and save or print it as PDF again.";
/// Of documents that are built as no usual program builds them.
pub const UNUSUAL: &str = "The document is built in an unusual way. Open it and save it again as DOCX or PDF.";
