//! Every story in one program, so that they share one build and run at once.

mod stand_in;
mod sync;
