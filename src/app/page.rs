//! Pages of a list.

/// A page of a list and where the next one starts.
#[derive(Debug, Clone)]
pub struct Page<T, P> {
    /// At most as many items as requested.
    pub items: Vec<T>,
    /// The position after the last item; `None` on the last page.
    pub next: Option<P>,
    /// The number of items of the whole list.
    pub total: i64,
}

impl<T, P> Page<T, P> {
    /// Cuts `items` to a page. They were fetched with one more than `limit`, which tells whether there is a next page.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32, total: i64, position: impl Fn(&T) -> P) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more).map(position);
        Self { items, next, total }
    }
}
