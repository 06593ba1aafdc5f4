//! in-toto statements: the waist between those who claim and those who sign or judge.
