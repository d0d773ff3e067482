//! Events of a DAO: proposals, votes, treasury and members.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::message::{PublishedMessage, naive};
use crate::demo::entities::{Amount, Proposal};
use crate::demo::names;
use crate::demo::network_state::NetworkState;

/// Proposals kept of one DAO: beyond that, the oldest closed one is dropped.
const MAX_PROPOSALS: usize = 20;

#[derive(Debug, Clone)]
pub(in crate::demo) enum DaoEvent {
    /// A proposal was created.
    ProposalCreated { dao: usize, proposal: usize, uuid: Uuid, serial: u64 },
    /// The vote on a proposal opened.
    VoteOpened { dao: usize, uuid: Uuid },
    /// A member voted.
    VoteCast { dao: usize, uuid: Uuid, vote: Uuid, member: usize, value: &'static str },
    /// The vote on a proposal closed.
    VoteClosed { dao: usize, uuid: Uuid, passed: bool },
    /// The DAO received or spent tokens.
    TreasuryChanged { dao: usize, token: usize, delta: Amount },
    /// A member joined.
    MemberJoined { dao: usize, user: Uuid, member: Uuid },
}

impl DaoEvent {
    pub(super) fn apply(self, state: &mut NetworkState, now: DateTime<Utc>) -> Option<PublishedMessage> {
        match self {
            Self::ProposalCreated { dao, proposal, uuid, serial } => {
                let (slug, title) = names::PROPOSALS[proposal];
                let slug = format!("{slug}-{serial}");
                let dao = &mut state.daos[dao];
                let payload = json!({"dao_id": dao.uuid, "proposal_id": uuid, "slug": slug, "title": title,
                    "status": "draft", "actor_id": dao.members[0], "ts": naive(now)});
                dao.proposals.push(Proposal { uuid, slug, title, status: "draft", created_at: now });
                Some(PublishedMessage::flat("dao.event.proposal_created", payload))
            }
            Self::VoteOpened { dao, uuid } => {
                let dao = &mut state.daos[dao];
                let proposal = dao.proposals.iter_mut().find(|proposal| proposal.uuid == uuid)?;
                proposal.status = "active";
                let payload = json!({"dao_id": dao.uuid, "proposal_id": uuid, "slug": proposal.slug, "ts": naive(now)});
                Some(PublishedMessage::flat("dao.event.proposal_activated", payload))
            }
            Self::VoteCast { dao, uuid, vote, member, value } => {
                let dao = &state.daos[dao];
                let payload = json!({"dao_id": dao.uuid, "proposal_id": uuid, "vote_id": vote,
                    "voter_user_id": dao.members[member % dao.members.len()], "vote_value": value,
                    "weight": "10.00000000", "ts": naive(now)});
                Some(PublishedMessage::flat("dao.event.vote_cast", payload))
            }
            Self::VoteClosed { dao, uuid, passed } => {
                let dao = &mut state.daos[dao];
                let proposal = dao.proposals.iter_mut().find(|proposal| proposal.uuid == uuid)?;
                proposal.status = if passed { "passed" } else { "rejected" };
                let payload = json!({"dao_id": dao.uuid, "proposal_id": uuid, "slug": proposal.slug,
                    "final_status": proposal.status, "is_passed": passed, "quorum_reached": true, "ts": naive(now)});
                let closed = dao.proposals.iter().position(|old| !matches!(old.status, "draft" | "active"));
                if let Some(oldest) = closed.filter(|_| dao.proposals.len() > MAX_PROPOSALS) {
                    dao.proposals.remove(oldest);
                }
                Some(PublishedMessage::flat("dao.event.proposal_closed", payload))
            }
            Self::TreasuryChanged { dao, token, delta } => {
                let dao = &mut state.daos[dao];
                let (symbol, _, balance) = &mut dao.treasury[token];
                balance.0 = (balance.0 + delta.0).max(0);
                let payload = json!({"dao_id": dao.uuid, "slug": dao.slug, "token_symbol": symbol,
                    "delta": delta.to_string(), "new_balance": balance.to_string(), "ts": naive(now)});
                Some(PublishedMessage::flat("dao.event.treasury_updated", payload))
            }
            Self::MemberJoined { dao, user, member } => {
                let dao = &mut state.daos[dao];
                dao.members.push(user);
                let payload = json!({"dao_id": dao.uuid, "slug": dao.slug, "member_id": member, "user_id": user,
                    "role": "member", "ts": naive(now)});
                Some(PublishedMessage::flat("dao.event.member_added", payload))
            }
        }
    }
}
