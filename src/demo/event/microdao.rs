//! Events of a microDAO: channel messages, treasury and members.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::message::{PublishedMessage, naive, with_offset};
use crate::demo::entities::Amount;
use crate::demo::hourly_usage::UsageCounts;
use crate::demo::network_state::NetworkState;

#[derive(Debug, Clone)]
pub(in crate::demo) enum MicrodaoEvent {
    /// A message in the main channel, by an agent or by a person.
    MessagePosted { microdao: usize, agent: Option<String>, message: Uuid, chars: u64 },
    /// The microDAO received or spent tokens.
    TreasuryChanged { microdao: usize, delta: Amount },
    /// A member joined.
    MemberJoined { microdao: usize, user: Uuid, member: Uuid },
    /// A member left.
    MemberLeft { microdao: usize, member: Uuid },
}

impl MicrodaoEvent {
    pub(super) fn apply(self, state: &mut NetworkState, now: DateTime<Utc>) -> Option<PublishedMessage> {
        match self {
            Self::MessagePosted { microdao, agent, message, chars } => {
                message_posted(state, microdao, agent, message, chars, now)
            }
            Self::TreasuryChanged { microdao, delta } => {
                let microdao = &mut state.microdaos[microdao];
                microdao.balance.0 = (microdao.balance.0 + delta.0).max(0);
                let payload = json!({"microdao_id": microdao.uuid, "slug": microdao.slug, "token_symbol": "DCR",
                    "delta": delta.to_string(), "new_balance": microdao.balance.to_string(),
                    "actor_id": microdao.members[0], "ts": naive(now)});
                Some(PublishedMessage::flat("microdao.event.treasury_updated", payload))
            }
            Self::MemberJoined { microdao, user, member } => {
                let microdao = &mut state.microdaos[microdao];
                microdao.members.push(user);
                let payload = json!({"microdao_id": microdao.uuid, "slug": microdao.slug, "member_id": member,
                    "user_id": user, "role": "member", "actor_id": microdao.members[0], "ts": naive(now)});
                Some(PublishedMessage::flat("microdao.event.member_added", payload))
            }
            Self::MemberLeft { microdao, member } => {
                let microdao = &mut state.microdaos[microdao];
                // the founder stays
                let user = if microdao.members.len() > 1 { microdao.members.pop()? } else { return None };
                let payload = json!({"microdao_id": microdao.uuid, "slug": microdao.slug, "member_id": member,
                    "user_id": user, "role": "member", "actor_id": microdao.members[0], "ts": naive(now)});
                Some(PublishedMessage::flat("microdao.event.member_removed", payload))
            }
        }
    }
}

fn message_posted(
    state: &mut NetworkState,
    microdao: usize,
    agent: Option<String>,
    message: Uuid,
    chars: u64,
    now: DateTime<Utc>,
) -> Option<PublishedMessage> {
    let counts = UsageCounts { messages: 1, message_chars: chars, ..UsageCounts::default() };
    match &agent {
        Some(agent) => {
            state.agent(agent)?;
            state.count(agent, now, counts);
        }
        None => state.human_messages.add(now, counts),
    }
    let microdao = &state.microdaos[microdao];
    let kind = if agent.is_some() { "agent" } else { "human" };
    let sender = agent.unwrap_or_else(|| format!("user:{}", microdao.members[0]));
    let payload = json!({
        "message_id": message, "channel_id": microdao.channel, "microdao_id": microdao.id,
        "sender_id": sender, "sender_type": kind, "matrix_event_id": format!("${message}:city"),
        "created_at": with_offset(now),
    });
    Some(PublishedMessage::flat("messaging.message.created", payload))
}
