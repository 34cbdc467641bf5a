//! What compiles, and what the compiler says about what does not.
//!
//! After a wanted change of a message, run this with `TRYBUILD=overwrite` and read the
//! difference as a newcomer would.

#[test]
fn right_code_compiles_and_mistakes_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile_pass/*.rs");
    cases.compile_fail("tests/compile_fail/*.rs");
}
