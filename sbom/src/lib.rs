//! Software bills of materials: read, write, convert, merge.
