//! Kernels on slices, forward and backward, for small models on a CPU: the two halves of a decoder block, RMS
//! norm, embedding, token scores, AdamW, and decoding with a key-value cache; dense layers ([`mlp`]) and a
//! multi-gate mixture of experts ([`mmoe`]).
//!
//! Matrices are row-major f32. A forward function that *keeps* returns what its backward function needs; a
//! backward function returns gradients of weights and turns the gradient of its result into that of its input
//! (or writes that to a slice of its own, if wanted, where the two differ in shape).
//!
//! Invariants: no tensor library, no file or network access, no clock, no randomness. The instruction set is
//! chosen at run time (AVX-512, AVX2 with FMA, or none). On one thread the result is a function of the input's bits and
//! the instruction set; on several ([`with_threads`]) also of their number. Unsafe code is in `matmul` alone.
//!
//! ```
//! use headwater_kernels::{Out, Strided, matmul};
//!
//! let (a, b) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.5, 0.0, 1.0, 0.5]);
//! let mut c = [0.0; 6];
//! matmul(&mut c, 3, Strided::rows(&a, 2), &b, 3, (2, 2, 3), Out::Set);
//! assert_eq!(c, [1.0, 2.0, 1.5, 3.0, 4.0, 3.5]);
//! ```

mod activation;
mod adamw;
mod attention;
mod buffer;
mod decode;
mod embedding;
mod feed_forward;
mod heads;
mod matmul;
mod mixing;
mod mlp;
mod mmoe;
mod norm;
mod rotary;
mod scores;
mod simd;
mod sparse;
mod threads;
mod tree;

pub use activation::Activation;
pub use adamw::{AdamWStep, adamw};
pub use attention::{
    AttentionGradients, AttentionSaved, AttentionWeights, attention, attention_backward,
    attention_saving,
};
pub use buffer::Buffer;
pub use decode::{Cache, DecoderWeights};
pub use embedding::{embed, embed_backward};
pub use feed_forward::{
    FeedForwardGradients, FeedForwardSaved, FeedForwardWeights, feed_forward,
    feed_forward_backward, feed_forward_saving,
};
pub use heads::AttentionShape;
pub use matmul::{Out, Strided, matmul};
pub use mlp::{DenseLayer, MlpSaved, mlp, mlp_backward, mlp_saving};
pub use mmoe::{
    ExpertGradients, ExpertLayer, MmoeGradients, MmoeSaved, MmoeWeights, mmoe, mmoe_backward,
    mmoe_saving,
};
pub use norm::{rms_norm, rms_norm_backward};
pub use rotary::Rotary;
pub use scores::{
    Scored, ScoresSaved, log_softmax, sum_of_squares, token_scores, token_scores_backward,
};
pub use simd::{InstructionSet, with_instruction_set};
pub use sparse::{SparseRows, sparse_matmul, sparse_matmul_backward};
pub use threads::{in_parts, threads, with_threads};
pub use tree::Tree;
