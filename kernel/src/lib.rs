//! (first lines come with the code)
