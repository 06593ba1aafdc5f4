//! The attributes by which Verus is told what to prove: the code below them is what it is without them.

use proc_macro::TokenStream;

/// What a function promises.
#[proc_macro_attribute]
pub fn verus_spec(_promised: TokenStream, code: TokenStream) -> TokenStream {
    code
}

/// That something is to be proven.
#[proc_macro_attribute]
pub fn verus_verify(_how: TokenStream, code: TokenStream) -> TokenStream {
    code
}
