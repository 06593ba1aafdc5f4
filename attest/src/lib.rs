//! Signs statements, attaches them to images, finds and verifies them again.
