//! Chapters: what does not belong to one item.

pub mod composition;
pub mod credentials;
pub mod lifetime;
pub mod security;
