#![doc = include_str!("../README.md")]

mod answer;
mod images;
mod kinds;
mod name;
mod patch;
mod question;
mod review;

pub use answer::{Answer, Context, Decision, Denial, Mode, Modes, Reason, answer};
pub use images::{Image, ImagesError, MAX_IMAGES, Position};
pub use kinds::{KindError, Kinds};
pub use name::{NameError, image_name};
pub use patch::Operation as PatchOperation;
pub use question::{Nothing, Question, question};
pub use review::{Envelope, EnvelopeError, Kind, Operation, Review, ReviewError, UserInfo};
