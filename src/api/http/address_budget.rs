//! How much may be held for clients at the same time: in all, and for each address. Counted before it is taken; whatever holds a
//! part gives it back when it is dropped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::http::client_address::ClientNetwork;

/// Who holds less than this part of an address's limit holds little.
const LITTLE: usize = 16;
/// The part of the total that is kept for those who hold little.
const RESERVED_FOR_LITTLE: usize = 4;

/// A budget of bytes, connections or whatever else is counted. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AddressBudget(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    total: usize,
    per_address: usize,
    held: Mutex<Amounts>,
}

/// What is held now. An address of which nothing is held has no entry.
#[derive(Debug, Default)]
struct Amounts {
    total: usize,
    by_address: HashMap<ClientNetwork, usize>,
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// That of the client's address.
    Address,
    /// That of all clients together.
    Total,
}

impl AddressBudget {
    /// A budget of which nothing is held.
    pub(crate) fn new(total: usize, per_address: usize) -> Self {
        Self(Arc::new(Parts {
            total,
            per_address,
            held: Mutex::default(),
        }))
    }

    /// Holds nothing yet, for a client at `address`.
    pub(crate) fn open(&self, address: ClientNetwork) -> Held {
        Held {
            budget: self.clone(),
            address,
            amount: 0,
        }
    }

    fn amounts(&self) -> MutexGuard<'_, Amounts> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: AddressBudget,
    address: ClientNetwork,
    amount: usize,
}

impl Held {
    /// Holds `amount` in all. What is too large for the budget is possible while nothing else is held.
    ///
    /// # Errors
    /// When a limit would be exceeded; what was held before is still held.
    pub(crate) fn grow_to(&mut self, amount: usize) -> Result<(), Exhausted> {
        let more = amount.saturating_sub(self.amount);
        if more == 0 {
            return Ok(());
        }
        let Parts { total, per_address, .. } = *self.budget.0;
        let mut amounts = self.budget.amounts();
        let others = |all: usize| all.saturating_sub(self.amount);
        let of_address = amounts.by_address.get(&self.address).copied().unwrap_or(0);
        if others(of_address) > 0 && of_address.saturating_add(more) > per_address {
            return Err(Exhausted::Address);
        }
        // The last quarter is for those who hold little: a few who hold much refuse nobody.
        let holds_little = of_address.saturating_add(more) <= per_address / LITTLE;
        let total = if holds_little {
            total
        } else {
            total - total / RESERVED_FOR_LITTLE
        };
        if others(amounts.total) > 0 && amounts.total.saturating_add(more) > total {
            return Err(Exhausted::Total);
        }
        amounts.total += more;
        *amounts.by_address.entry(self.address).or_default() += more;
        self.amount = amount;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.amount == 0 {
            return;
        }
        let mut amounts = self.budget.amounts();
        amounts.total -= self.amount;
        if let Entry::Occupied(mut of_address) = amounts.by_address.entry(self.address) {
            *of_address.get_mut() -= self.amount;
            if *of_address.get() == 0 {
                of_address.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn at(last: u8) -> ClientNetwork {
        IpAddr::from([198, 51, 100, last]).into()
    }

    #[test]
    fn an_address_cannot_take_what_others_need() {
        let budget = AddressBudget::new(100, 40);
        let (mut greedy, mut second, mut other) = (budget.open(at(1)), budget.open(at(1)), budget.open(at(2)));
        assert_eq!(greedy.grow_to(30), Ok(()));
        assert_eq!(second.grow_to(20), Err(Exhausted::Address));
        assert_eq!(other.grow_to(40), Ok(()));
        assert_eq!(budget.open(at(3)).grow_to(6), Err(Exhausted::Total));
        let mut little = budget.open(at(4));
        assert_eq!(
            little.grow_to(2),
            Ok(()),
            "the last quarter is for those who hold little"
        );
        drop(greedy);
        assert_eq!(second.grow_to(20), Ok(()));
    }

    #[test]
    fn what_is_larger_than_the_budget_is_held_alone() {
        let budget = AddressBudget::new(100, 40);
        let (mut large, mut small) = (budget.open(at(1)), budget.open(at(1)));
        assert_eq!(large.grow_to(60), Ok(()));
        assert_eq!(small.grow_to(1), Err(Exhausted::Address));
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_given_back(steps in prop::collection::vec((0_u8..4, 0_usize..60), 0..40)) {
            let budget = AddressBudget::new(100, 40);
            let mut held: Vec<Held> = (0..4).map(|n| budget.open(at(n / 2))).collect();
            for (which, amount) in steps {
                let _ = held[usize::from(which)].grow_to(amount);
                let sum: usize = held.iter().map(|held| held.amount).sum();
                prop_assert_eq!(budget.amounts().total, sum);
            }
            drop(held);
            prop_assert_eq!(budget.amounts().total, 0);
            prop_assert!(budget.amounts().by_address.is_empty());
        }
    }
}
