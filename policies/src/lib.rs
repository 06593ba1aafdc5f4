//! Judges an image by what is proven about it.
