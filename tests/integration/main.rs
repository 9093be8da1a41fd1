//! Every integration test of Cura, one binary: it links once.

mod streaming;
