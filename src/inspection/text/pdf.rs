//! The text of PDF documents, by page.
//!
//! The reader panics where it meets what it does not know, as the maps of characters that every reader of Chinese or Japanese has. Then
//! the rest of that page is left out, and the others are read. On some files it overflows its stack: nothing but a process of its own
//! helps against that.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use cura_domain::file::FileReason;
use pdf_extract::{
    ColorSpace, ConvertToFmt, Document, MediaBox, OutputDev, OutputError, Path, PlainTextOutput, Transform, output_doc,
    output_doc_page,
};
use rustix::time::{ClockId, clock_gettime};

use super::DocumentText;
use super::pages::Pages;
use crate::documents::pdf::open;

/// How much time on a processor this process may have taken when the last page is read: well within what it may take, because all that
/// was read is lost then.
const READ_TIMEOUT: Duration = Duration::from_secs(7);
/// How long pages are read at most on a machine that is busy with something else: well within the time that the parent waits.
const BUSY_TIMEOUT: Duration = Duration::from_secs(12);

/// The text of a PDF.
///
/// # Errors
/// [`FileReason::Encrypted`], [`FileReason::Unreadable`]
pub(super) fn text(bytes: &[u8]) -> Result<DocumentText, FileReason> {
    text_of_document(&open(bytes)?)
}

/// The text of a PDF that was opened.
pub(crate) fn text_of_document(document: &Document) -> Result<DocumentText, FileReason> {
    text_within(document, READ_TIMEOUT, BUSY_TIMEOUT)
}

/// The text of the pages that can be read until this thread has taken so much time on a processor, or so much time is over.
pub(super) fn text_within(document: &Document, taken: Duration, busy: Duration) -> Result<DocumentText, FileReason> {
    let count = document.get_pages().len();
    let gathered = Gathered {
        pages: Rc::new(RefCell::new(Pages::new())),
        taken,
        until: Instant::now() + busy,
    };
    read(document, count, &gathered);
    let Gathered { pages, .. } = gathered;
    let text = Rc::try_unwrap(pages)
        .map(RefCell::into_inner)
        .map_err(|_| FileReason::Unreadable)?;
    Ok(text.finish(u32::try_from(count).ok()))
}

fn read(document: &Document, count: usize, gathered: &Gathered) {
    // At once, because the reader looks for every single page from the first one.
    if survives(|| output_doc(document, &mut PageReader::new(gathered))) {
        return;
    }
    loop {
        // Behind the page where it gave up.
        let number = gathered.pages.borrow().number() + 1;
        let Some(page) = u32::try_from(number).ok().filter(|_| number <= count) else {
            return;
        };
        if gathered.turn_to(number).is_err() {
            return;
        }
        survives(|| output_doc_page(document, &mut PageReader::new(gathered), page));
    }
}

/// Whether everything was read.
fn survives(reading: impl FnOnce() -> Result<(), OutputError>) -> bool {
    matches!(catch_unwind(AssertUnwindSafe(reading)), Ok(Ok(())))
}

/// The time on a processor that this thread, the only one of a child, has taken since its start.
pub(crate) fn time_taken() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or(Duration::MAX)
}

/// Where text goes.
#[derive(Clone)]
struct Gathered {
    pages: Rc<RefCell<Pages>>,
    taken: Duration,
    until: Instant,
}

impl Gathered {
    fn turn_to(&self, number: usize) -> fmt::Result {
        self.check_time()?;
        self.pages.borrow_mut().turn_to(number).map_err(|_| fmt::Error)
    }

    fn check_time(&self) -> fmt::Result {
        let mut pages = self.pages.borrow_mut();
        if time_taken() >= self.taken || Instant::now() >= self.until {
            pages.cut();
        }
        if pages.is_full() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl fmt::Write for Gathered {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.pages.borrow_mut().push_str(text).map_err(|_| fmt::Error)
    }
}

impl ConvertToFmt for Gathered {
    type Writer = Self;

    fn convert(self) -> Self {
        self
    }
}

/// Takes what the reader sees, and stops it when there is enough.
struct PageReader<'a> {
    gathered: &'a Gathered,
    plain: PlainTextOutput<Gathered>,
}

impl<'a> PageReader<'a> {
    fn new(gathered: &'a Gathered) -> Self {
        Self {
            gathered,
            plain: PlainTextOutput::new(gathered.clone()),
        }
    }
}

impl OutputDev for PageReader<'_> {
    fn begin_page(
        &mut self,
        number: u32,
        media_box: &MediaBox,
        art_box: Option<(f64, f64, f64, f64)>,
    ) -> Result<(), OutputError> {
        self.gathered.turn_to(usize::try_from(number).unwrap_or(usize::MAX))?;
        // It remembers where the last character was.
        self.plain = PlainTextOutput::new(self.gathered.clone());
        self.plain.begin_page(number, media_box, art_box)
    }

    fn end_page(&mut self) -> Result<(), OutputError> {
        self.plain.end_page()
    }

    fn output_character(
        &mut self,
        place: &Transform,
        width: f64,
        spacing: f64,
        font_size: f64,
        character: &str,
    ) -> Result<(), OutputError> {
        self.gathered.check_time()?;
        self.plain.output_character(place, width, spacing, font_size, character)
    }

    fn begin_word(&mut self) -> Result<(), OutputError> {
        self.plain.begin_word()
    }

    fn end_word(&mut self) -> Result<(), OutputError> {
        self.plain.end_word()
    }

    fn end_line(&mut self) -> Result<(), OutputError> {
        self.plain.end_line()
    }

    fn stroke(&mut self, _: &Transform, _: &ColorSpace, _: &[f64], _: &Path) -> Result<(), OutputError> {
        Ok(self.gathered.check_time()?)
    }

    fn fill(&mut self, _: &Transform, _: &ColorSpace, _: &[f64], _: &Path) -> Result<(), OutputError> {
        Ok(self.gathered.check_time()?)
    }
}
