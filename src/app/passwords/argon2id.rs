//! One argon2id computation in memory that the caller owns.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use thiserror::Error;

/// How expensive a hash is. The default is OWASP's first recommendation for argon2id (19 MiB, 2 passes, 1 lane).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
}

impl HashCost {
    /// How much work a hash is: blocks of 1 KiB, times how often each is written.
    fn work(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// The dearer of the two.
    pub(super) fn max(self, other: Self) -> Self {
        if other.work() > self.work() { other } else { self }
    }

    /// What is left of this cost after `spent`: a hash of as many passes, in less memory. `None` if that is too little for one.
    pub(super) fn minus(self, spent: Self) -> Option<Self> {
        let left = self.work().checked_sub(spent.work())? / u64::from(self.passes);
        let memory_kib = u32::try_from(left).ok()?;
        (memory_kib >= Params::MIN_M_COST).then_some(Self { memory_kib, ..self })
    }

    fn params(self) -> Result<Params, HashError> {
        Params::new(self.memory_kib, self.passes, 1, None).map_err(failed)
    }
}

impl Default for HashCost {
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            passes: 2,
        }
    }
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// The password does not match.
    Wrong,
    /// The password matches.
    Right {
        /// Whether the stored hash is cheaper than the ones made today.
        outdated: bool,
    },
}

/// argon2 refused its input, or the stored hash is broken.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct HashError(String);

/// Makes hashes of one cost; checks hashes of any cost.
#[derive(Clone)]
pub(super) struct Hasher {
    params: Params,
}

impl Hasher {
    pub(super) fn new(cost: HashCost) -> Result<Self, HashError> {
        let params = cost.params()?;
        Ok(Self { params })
    }

    /// The length of the memory that a hash of this cost needs, in blocks of 1 KiB.
    pub(super) fn memory_blocks(&self) -> usize {
        self.params.block_count()
    }

    /// The PHC string of `password`. What `memory` holds before does not matter: every block is written before it is read.
    pub(super) fn hash(&self, password: &[u8], salt: &[u8; 16], memory: &mut [Block]) -> Result<String, HashError> {
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
            .hash_password_into_with_memory(password, salt, &mut output, memory)
            .map_err(failed)?;
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.params).map_err(failed)?,
            salt: Some(Salt::new(salt).map_err(failed)?),
            hash: Some(Output::new(&output).map_err(failed)?),
        };
        Ok(hash.to_string())
    }

    /// Computes the hash with the parameters of `stored` and compares in constant time. Memory beyond `memory` is allocated
    /// if `stored` is more expensive than the hashes made today, and freed afterwards.
    pub(super) fn check(&self, password: &[u8], stored: &str, memory: &mut [Block]) -> Result<Checked, HashError> {
        let stored = PasswordHash::new(stored).map_err(failed)?;
        let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else {
            return Err(HashError("the stored hash is incomplete".to_owned()));
        };
        let algorithm = Algorithm::try_from(stored.algorithm.as_str()).map_err(failed)?;
        let version = stored.version.map(Version::try_from).transpose().map_err(failed)?;
        let params = Params::try_from(&stored).map_err(failed)?;
        let outdated = params.m_cost() < self.params.m_cost() || params.t_cost() < self.params.t_cost();
        let blocks = params.block_count();
        let mut larger = Vec::new();
        let memory = at_least(blocks, memory, &mut larger);
        let mut buffer = [0; Output::MAX_LENGTH];
        let output = &mut buffer[..expected.len()];
        Argon2::new(algorithm, version.unwrap_or_default(), params)
            .hash_password_into_with_memory(password, salt, output, memory)
            .map_err(failed)?;
        // `Output` compares in constant time.
        if Output::new(output).map_err(failed)? == *expected {
            Ok(Checked::Right { outdated })
        } else {
            Ok(Checked::Wrong)
        }
    }
}

/// The cost of a stored hash.
pub(super) fn cost_of(stored: &str) -> Result<HashCost, HashError> {
    let params = Params::try_from(&PasswordHash::new(stored).map_err(failed)?).map_err(failed)?;
    Ok(HashCost {
        // Several lanes of a hash from elsewhere are computed one after the other.
        memory_kib: params.m_cost(),
        passes: params.t_cost(),
    })
}

/// Does the work of a hash of this cost, and forgets the result.
pub(super) fn spend(cost: HashCost, password: &[u8], memory: &mut [Block]) -> Result<(), HashError> {
    let params = cost.params()?;
    let mut larger = Vec::new();
    let memory = at_least(params.block_count(), memory, &mut larger);
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password, b"nobody's salt", &mut output, memory)
        .map_err(failed)?;
    std::hint::black_box(output);
    Ok(())
}

/// `memory` if it has so many blocks, else `larger` with so many.
fn at_least<'a>(blocks: usize, memory: &'a mut [Block], larger: &'a mut Vec<Block>) -> &'a mut [Block] {
    if blocks <= memory.len() {
        return memory;
    }
    larger.resize(blocks, Block::new());
    larger
}

fn failed(error: impl std::fmt::Display) -> HashError {
    HashError(error.to_string())
}
