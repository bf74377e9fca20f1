//! (first lines come with the code)
fn main() {}
