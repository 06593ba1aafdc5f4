//! Who else saw the signature: logs and clocks, each counted once.

use time::OffsetDateTime;

use super::log::{self, Logged};
use super::material::Claimant;
use super::{Thresholds, timestamp};
use crate::bundle::Bundle;
use crate::rejection::Rejection;
use crate::signed_by::SignedBy;
use crate::trust::TrustedRoot;
use crate::verified::{LogRecord, SeenAt, Unchecked, VerifiedSignature, Witness};

/// What witnesses say, and what could not be verified.
pub(super) struct Seen {
    logs: Vec<LogRecord>,
    times: Vec<SeenAt>,
    /// Who has voted on logs, and who on times.
    log_voters: Vec<String>,
    clock_voters: Vec<String>,
    unchecked: Vec<Unchecked>,
}

/// Asks all witnesses. One whose word cannot be verified gives no vote and is named; it takes none
/// from the others.
pub(super) fn seen(bundle: &Bundle, logged: &Logged<'_>, root: Option<&TrustedRoot>) -> Seen {
    let mut seen = Seen {
        logs: Vec::new(),
        times: Vec::new(),
        log_voters: Vec::new(),
        clock_voters: Vec::new(),
        unchecked: Vec::new(),
    };
    let Some(root) = root else {
        let (entries, timestamps) = (bundle.log_entries().len(), bundle.timestamps().len());
        if entries > 0 {
            seen.unchecked
                .push(Unchecked::LogEntries { count: entries });
        }
        if timestamps > 0 {
            seen.unchecked
                .push(Unchecked::Timestamps { count: timestamps });
        }
        return seen;
    };
    for timestamp in bundle.timestamps() {
        match timestamp::vote(timestamp, logged.signature, root) {
            Ok(vote) => {
                vote_once(&mut seen.clock_voters, vote.authority.voter());
                seen.times.push(SeenAt {
                    time: vote.time,
                    witness: Witness::TimestampAuthority(vote.authority.uri.clone()),
                });
            }
            Err(reason) => seen.unchecked.push(Unchecked::Timestamp { reason }),
        }
    }
    for entry in bundle.log_entries() {
        let vote = log::vote(entry, logged, root, bundle.version()).and_then(|vote| {
            // Without a promise, the clocks say when: after its time a log's key proves nothing.
            let late = seen
                .times
                .iter()
                .find(|it| vote.time.is_none() && !vote.log.validity.contains(it.time));
            match late {
                Some(late) => Err(log::LogError::OutsideLog {
                    log: vote.log.base_url.clone(),
                    time: late.time,
                }),
                None => Ok(vote),
            }
        });
        match vote {
            Ok(vote) => {
                vote_once(&mut seen.log_voters, vote.log.voter());
                seen.logs.push(LogRecord {
                    log: vote.log.base_url.clone(),
                    index: entry.log_index,
                });
                if let Some(time) = vote.time {
                    vote_once(&mut seen.clock_voters, vote.log.voter());
                    seen.times.push(SeenAt {
                        time,
                        witness: Witness::Log(vote.log.base_url.clone()),
                    });
                }
            }
            Err(reason) => seen.unchecked.push(Unchecked::LogEntry {
                index: entry.log_index,
                reason,
            }),
        }
    }
    seen
}

fn vote_once(voters: &mut Vec<String>, voter: &str) {
    if !voters.iter().any(|it| it == voter) {
        voters.push(voter.to_owned());
    }
}

impl Seen {
    /// There are as many as `thresholds` ask for, or as who signed needs.
    pub(super) fn suffice(
        &self,
        thresholds: Thresholds,
        claimant: &Claimant<'_>,
    ) -> Result<(), Rejection> {
        let needed = match claimant {
            Claimant::Key { .. } => 0,
            Claimant::Certificate(_) => 1,
        };
        let wanted = thresholds.logs.unwrap_or(needed);
        if self.log_voters.len() < wanted {
            return Err(Rejection::TooFewLogs {
                wanted,
                found: self.log_voters.len(),
                reason: self.unchecked.iter().find_map(|it| match it {
                    Unchecked::LogEntry { reason, .. } => Some(reason.clone()),
                    _ => None,
                }),
            });
        }
        // A certificate has to be seen at some time, or there is none at which it could be valid.
        let wanted = thresholds.times.unwrap_or(needed).max(needed);
        if self.clock_voters.len() < wanted {
            return Err(Rejection::TooFewTimes {
                wanted,
                found: self.clock_voters.len(),
                reason: self.unchecked.iter().find_map(|it| match it {
                    Unchecked::Timestamp { reason } => Some(reason.clone()),
                    _ => None,
                }),
            });
        }
        Ok(())
    }

    /// All times at which it was seen.
    pub(super) fn times(&self) -> Vec<OffsetDateTime> {
        self.times.iter().map(|it| it.time).collect()
    }

    pub(super) fn proof(self, signer: SignedBy) -> VerifiedSignature {
        VerifiedSignature {
            signer,
            logs: self.logs,
            times: self.times,
            unchecked: self.unchecked,
        }
    }
}
