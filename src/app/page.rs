//! Pages of a list.

/// The most bytes of text on a page; it ends early and says where the next one starts. A hundred answers of the greatest
/// length would be a hundred megabytes in memory for each reader.
pub(crate) const MAX_PAGE_BYTES: i64 = 4 * 1024 * 1024;

/// A page of a list and where the next one starts.
#[derive(Debug, Clone)]
pub struct Page<T, P> {
    /// At most as many items as requested, fewer if they are long.
    pub items: Vec<T>,
    /// The position after the last item; `None` on the last page.
    pub next: Option<P>,
    /// The number of items of the whole list.
    pub total: i64,
}

impl<T, P> Page<T, P> {
    /// How many of the items with these sizes, given in their order, are a page of at most `limit` items and about
    /// [`MAX_PAGE_BYTES`]; one at least, however long it is.
    pub(crate) fn fitting(sizes: &[i64], limit: u32) -> usize {
        let mut bytes = 0;
        let fit = sizes.iter().take(limit as usize).take_while(|size| {
            bytes += **size;
            bytes <= MAX_PAGE_BYTES
        });
        fit.count().max(1).min(sizes.len())
    }

    /// The bytes of an item with which any page of `limit` items and one more is small enough.
    pub(crate) fn longest_item(limit: u32) -> i32 {
        let items = i64::from(limit).saturating_add(1);
        i32::try_from(MAX_PAGE_BYTES / items).unwrap_or(i32::MAX)
    }

    /// Cuts `items` to a page. They were fetched with one more than `limit`, which tells whether there is a next page.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32, total: i64, position: impl Fn(&T) -> P) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more).map(position);
        Self { items, next, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_before_it_gets_too_large_and_has_one_item_at_least() {
        let fitting = Page::<(), ()>::fitting;
        assert_eq!(fitting(&[], 20), 0);
        assert_eq!(fitting(&[1; 30], 20), 20);
        assert_eq!(fitting(&[1; 3], 20), 3);
        assert_eq!(fitting(&[MAX_PAGE_BYTES + 1, 1], 20), 1);
        assert_eq!(fitting(&[MAX_PAGE_BYTES - 1, 1, 1], 20), 2);
        assert_eq!(fitting(&[1, MAX_PAGE_BYTES], 20), 1);
    }
}
