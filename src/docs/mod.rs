//! Chapters: what does not belong to one item.

pub mod lifetime;
