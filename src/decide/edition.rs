//! Policies in force, one set after the other.

use std::{collections::HashMap, sync::Arc};

use super::{PolicySet, Verdict};

/// A policy set in force, with numbers for its policies that outlast it: counters, remembered verdicts and decisions on
/// their way out name policies by number, whatever came into force since.
#[derive(Debug)]
pub struct Edition {
    pub policies: Arc<PolicySet>,
    /// All policies of this edition and those before, by number. A name keeps its number.
    pub names: Arc<[String]>,
    /// By place in the set.
    numbers: Vec<u16>,
}

/// A verdict names its policy by 16 bits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {} different names of policies since the start", u16::MAX)]
pub struct Full;

// === impl Edition ===

impl Edition {
    pub fn first(policies: Arc<PolicySet>) -> Self {
        let names: Arc<[_]> = policies.policies().iter().map(|policy| policy.name.clone()).collect();
        Self { policies, numbers: (0..names.len() as u16).collect(), names }
    }

    /// # Errors
    /// There are no more numbers.
    pub fn next(&self, policies: Arc<PolicySet>) -> Result<Self, Full> {
        let mut names = self.names.to_vec();
        let known: HashMap<_, _> = (0..).zip(&*self.names).map(|(at, name)| (name.as_str(), at)).collect();
        let mut numbers = Vec::with_capacity(policies.policies().len());
        for policy in policies.policies() {
            numbers.push(match known.get(policy.name.as_str()) {
                Some(number) => *number,
                None => {
                    names.push(policy.name.clone());
                    u16::try_from(names.len() - 1).ok().filter(|number| *number < u16::MAX).ok_or(Full)?
                }
            });
        }
        Ok(Self { policies, names: names.into(), numbers })
    }

    /// The number of a policy of the set.
    pub fn number(&self, policy: u16) -> u16 {
        self.numbers[usize::from(policy)]
    }

    /// A verdict of the set, its policy by number.
    pub fn numbered(&self, verdict: Verdict) -> Verdict {
        Verdict { policy: verdict.policy.map(|policy| self.number(policy)), ..verdict }
    }
}
