//! Symptoms that users of other operators have reported or that those operators' code shows, one test each, named after the
//! symptom's absence. For every meaning of every kind: nothing here knows a kind by name.

mod ends;
mod input;
mod kit;
mod restarts;
mod words;
