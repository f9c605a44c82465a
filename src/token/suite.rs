//! The three AEADs behind one enum.
