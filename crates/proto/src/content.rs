//! Contents: what members say to each other inside the encryption. Specified in `spec/content.md`.

use prost::Message;

use crate::{DecodeError, LogId, Reference, limits, wire};

/// One entry of a conversation, as its author wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The heads the author had seen; at most [`limits::DEPENDENCIES_MAX`].
    pub dependencies: Vec<Reference>,
    /// When the author's clock says it was sent, in seconds since the Unix epoch. Shown, never
    /// sorted by.
    pub sent_at_s: u64,
    /// What it says.
    pub body: Body,
    /// Hash of the newest bundle of the other account that the author knows.
    pub bundle_seen: Option<[u8; 32]>,
}

/// What an entry of a conversation says.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// A text, perhaps in answer to a message.
    Text { text: String, reply_to: Option<Reference> },
    /// Replaces the text of one's own message.
    Edit { target: Reference, text: String },
    /// Deletes an own message.
    Delete { target: Reference },
    /// Reacts to a message; an empty emoji takes the reaction back.
    Reaction { target: Reference, emoji: String },
    /// What has arrived and what was read.
    Receipt(Receipt),
    /// Accepts the contact request; carries the accepting side's bundle, and the conversation that
    /// it had requested itself and drops.
    Accept { bundle: Vec<u8>, instead_of: Option<LogId> },
    /// Something of a later version. It takes its place in the order and is not shown.
    #[default]
    Unknown,
}

/// These entries, and all they depend on, have arrived or were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Arrived on the author's device.
    pub delivered: Vec<Reference>,
    /// Read by the author.
    pub read: Vec<Reference>,
}

impl Content {
    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let mut wire = wire::Content {
            dependencies: bytes_of(&self.dependencies),
            sent_at_s: self.sent_at_s,
            bundle_seen: self.bundle_seen.map(|hash| hash.to_vec()).unwrap_or_default(),
            ..Default::default()
        };
        match &self.body {
            Body::Text { text, reply_to } => {
                wire.text.clone_from(text);
                wire.target = reply_to.map(|target| target.0.to_vec()).unwrap_or_default();
            }
            Body::Edit { target, text } => {
                wire.target = target.0.to_vec();
                wire.edit = Some(wire::Edit { text: text.clone() });
            }
            Body::Delete { target } => {
                wire.target = target.0.to_vec();
                wire.delete = Some(wire::Delete {});
            }
            Body::Reaction { target, emoji } => {
                wire.target = target.0.to_vec();
                wire.reaction = Some(wire::Reaction { emoji: emoji.clone() });
            }
            Body::Receipt(receipt) => {
                wire.receipt = Some(wire::Receipt {
                    delivered: bytes_of(&receipt.delivered),
                    read: bytes_of(&receipt.read),
                });
            }
            Body::Accept { bundle, instead_of } => {
                let instead_of = instead_of.map(|log| log.0.to_vec()).unwrap_or_default();
                wire.accept = Some(wire::Accept { bundle: bundle.clone(), instead_of });
            }
            Body::Unknown => {}
        }
        wire.encode_to_vec()
    }

    /// Reads what a member wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wire = wire::Content::decode(bytes)?;
        let bundle_seen = match wire.bundle_seen.as_slice() {
            [] => None,
            hash => Some(hash.try_into().map_err(|_| DecodeError::Length)?),
        };
        Ok(Self {
            dependencies: references(&wire.dependencies)?,
            sent_at_s: wire.sent_at_s,
            bundle_seen,
            body: body_of(wire)?,
        })
    }
}

fn body_of(wire: wire::Content) -> Result<Body, DecodeError> {
    let bodies = [
        !wire.text.is_empty(),
        wire.edit.is_some(),
        wire.delete.is_some(),
        wire.reaction.is_some(),
        wire.receipt.is_some(),
        wire.accept.is_some(),
    ];
    if bodies.into_iter().filter(|present| *present).count() > 1 {
        return Err(DecodeError::Kind);
    }
    let target = || Ok::<_, DecodeError>(Reference::try_from(wire.target.as_slice())?);
    if let Some(edit) = wire.edit {
        return Ok(Body::Edit { target: target()?, text: edit.text });
    }
    if wire.delete.is_some() {
        return Ok(Body::Delete { target: target()? });
    }
    if let Some(reaction) = wire.reaction {
        if reaction.emoji.len() > limits::EMOJI_MAX {
            return Err(DecodeError::TooLarge);
        }
        return Ok(Body::Reaction { target: target()?, emoji: reaction.emoji });
    }
    if let Some(receipt) = wire.receipt {
        let (delivered, read) = (references(&receipt.delivered)?, references(&receipt.read)?);
        return Ok(Body::Receipt(Receipt { delivered, read }));
    }
    if let Some(accept) = wire.accept {
        if accept.bundle.len() > limits::BUNDLE_MAX {
            return Err(DecodeError::TooLarge);
        }
        let instead_of = match accept.instead_of.as_slice() {
            [] => None,
            log => Some(LogId::try_from(log)?),
        };
        return Ok(Body::Accept { bundle: accept.bundle, instead_of });
    }
    if wire.text.is_empty() {
        return Ok(Body::Unknown);
    }
    let reply_to = if wire.target.is_empty() { None } else { Some(target()?) };
    Ok(Body::Text { text: wire.text, reply_to })
}

fn bytes_of(references: &[Reference]) -> Vec<Vec<u8>> {
    references.iter().map(|reference| reference.0.to_vec()).collect()
}

fn references(wire: &[Vec<u8>]) -> Result<Vec<Reference>, DecodeError> {
    if wire.len() > limits::DEPENDENCIES_MAX {
        return Err(DecodeError::TooLarge);
    }
    wire.iter().map(|bytes| Ok(Reference::try_from(bytes.as_slice())?)).collect()
}
