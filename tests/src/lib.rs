//! Where the fixtures and, if it is there, the corpus of real sessions lie.
