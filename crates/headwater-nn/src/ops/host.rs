//! Fused operations on the host: forward and backward as functions of slices, under the tensor library's
//! autodiff.
//!
//! Where every input lives on the CPU backend, an operation is applied through [`apply`]: one node of the
//! graph, whose backward pass is the operation's own. Elsewhere the caller falls back on ordinary tensor operations.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, BackendTensor, DispatchKindConversion, DispatchTensor, Flex,
};
use burn::tensor::{Bytes, DType, Int, Shape, Tensor, TensorData};

/// An operation of `N` float inputs and one float output.
pub(crate) trait HostOp<const N: usize>: Debug + Send + Sync + 'static {
    /// What the backward pass needs of the forward pass, besides the inputs.
    type Saved: Debug + Send + Sync + 'static;

    /// The result alone.
    fn forward(&self, inputs: [&[f32]; N]) -> Vec<f32> {
        self.saving(inputs).0
    }

    /// The result, and what [`HostOp::backward`] will need.
    fn saving(&self, inputs: [&[f32]; N]) -> (Vec<f32>, Self::Saved);

    /// Gradients of the inputs, given that of the result.
    fn backward(
        &self,
        inputs: [&[f32]; N],
        saved: &Self::Saved,
        gradient: &mut [f32],
    ) -> [Gradient; N];
}

/// Gradient of one input.
pub(crate) enum Gradient {
    /// Written over the gradient of the result; at most one input's.
    InPlace,
    /// Values in the input's shape.
    New(Vec<f32>),
}

/// A float tensor on the CPU backend.
pub(crate) enum Input {
    Constant(FlexTensor),
    Tracked(FloatTensor<Autodiff<Flex>>),
}

/// The tensors as inputs of a fused operation; `None` when one of them lives elsewhere.
pub(crate) fn inputs<const N: usize>(tensors: [DispatchTensor; N]) -> Option<[Input; N]> {
    let inputs: Option<Vec<Input>> = tensors.into_iter().map(input).collect();
    inputs?.try_into().ok()
}

fn input(tensor: DispatchTensor) -> Option<Input> {
    type Tracked = Autodiff<Flex>;
    let tracked = <DispatchTensor as DispatchKindConversion<Tracked>>::try_into_backend;
    let plain = <DispatchTensor as DispatchKindConversion<Flex>>::try_into_backend;
    let input = match tracked(tensor.clone()) {
        Ok(BackendTensor::Float(tensor)) => Input::Tracked(tensor),
        _ => match plain(tensor) {
            Ok(BackendTensor::Float(tensor)) => Input::Constant(tensor),
            _ => return None,
        },
    };
    let dtype = match &input {
        Input::Constant(tensor) => tensor.dtype(),
        Input::Tracked(tensor) => tensor.primitive().dtype(),
    };
    (dtype == DType::F32).then_some(input)
}

/// Applies `op`; the result has `shape`.
pub(crate) fn apply<Op: HostOp<N>, const N: usize>(
    op: Op,
    inputs: [Input; N],
    shape: &[usize],
) -> DispatchTensor {
    let is_tracked = inputs.iter().any(|input| matches!(input, Input::Tracked(_)));
    let parts = inputs.map(|input| match input {
        Input::Constant(tensor) => Autodiff::<Flex>::from_inner(tensor),
        Input::Tracked(tensor) => tensor,
    });
    let mut guards = Vec::with_capacity(N);
    let primitives = parts.map(|part| {
        let (primitive, guard) = part.into_parts();
        guards.push(guard);
        contiguous(primitive)
    });
    if !is_tracked {
        let out = tensor(op.forward(primitives.each_ref().map(slice)), shape);
        let out = BackendTensor::Float(out);
        return <DispatchTensor as DispatchKindConversion<Flex>>::from_backend(out);
    }
    let guards = guards.try_into().unwrap_or_else(|_| unreachable!("one guard for every input"));
    let out = match Step::<Op, N>(PhantomData)
        .prepare::<NoCheckpointing>(guards)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(step) => {
            let (out, saved) = op.saving(primitives.each_ref().map(slice));
            let state = State { op: Arc::new(op), inputs: primitives, saved: Arc::new(saved) };
            step.finish(state, tensor(out, shape))
        }
        OpsKind::UnTracked(step) => {
            step.finish(tensor(op.forward(primitives.each_ref().map(slice)), shape))
        }
    };
    let out = BackendTensor::Float(out);
    <DispatchTensor as DispatchKindConversion<Autodiff<Flex>>>::from_backend(out)
}

#[derive(Debug)]
struct Step<Op, const N: usize>(PhantomData<Op>);

#[derive(Debug)]
struct State<Op: HostOp<N>, const N: usize> {
    op: Arc<Op>,
    inputs: [FlexTensor; N],
    saved: Arc<Op::Saved>,
}

impl<Op: HostOp<N>, const N: usize> Clone for State<Op, N> {
    fn clone(&self) -> Self {
        Self { op: self.op.clone(), inputs: self.inputs.clone(), saved: self.saved.clone() }
    }
}

impl<Op: HostOp<N>, const N: usize> Backward<Flex, N> for Step<Op, N> {
    type State = State<Op, N>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let State { op, inputs, saved } = ops.state;
        let mut outer = contiguous(gradients.consume::<Flex>(&ops.node));
        let slices = inputs.each_ref().map(slice);
        let inner = op.backward(slices, &saved, outer.storage_mut::<f32>());
        let mut outer = Some(outer);
        for ((parent, gradient), input) in ops.parents.into_iter().zip(inner).zip(&inputs) {
            let shape = input.layout().shape().clone();
            let gradient = match gradient {
                Gradient::InPlace => outer.take().expect("one input's gradient at most"),
                Gradient::New(values) => tensor(values, &shape.to_vec()),
            };
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// The tensor with its values in row-major order from the start of its storage.
fn contiguous(tensor: FlexTensor) -> FlexTensor {
    let layout = tensor.layout();
    if layout.is_contiguous() && layout.start_offset() == 0 {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("contiguous f32 values")
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from(shape.to_vec()));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// A float tensor's values on the host.
#[derive(Debug)]
pub(crate) struct HostTensor(FlexTensor);

impl HostTensor {
    /// Borrowed from the CPU backend, copied from others.
    pub(crate) fn of<const D: usize>(tensor: &Tensor<D>) -> Self {
        borrow(tensor).unwrap_or_else(|| Self(FlexTensor::from_data(tensor.to_data())))
    }

    pub(crate) fn values(&self) -> &[f32] {
        slice(&self.0)
    }
}

/// The values without a copy; `None` when the tensor lives elsewhere than on the CPU backend.
pub(crate) fn borrow<const D: usize>(tensor: &Tensor<D>) -> Option<HostTensor> {
    tensor.clone().try_into_primitive::<Flex>().ok().map(|tensor| HostTensor(contiguous(tensor)))
}

/// A tensor of the CPU backend, to be changed in place; one that shares its storage gets its own first.
pub(crate) struct InPlace(FlexTensor);

impl InPlace {
    /// # Panics
    /// When the tensor lives elsewhere.
    pub(crate) fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let primitive = tensor.try_into_primitive::<Flex>();
        Self(contiguous(primitive.expect("all tensors of a module are on one device")))
    }

    pub(crate) fn values(&mut self) -> &mut [f32] {
        self.0.storage_mut::<f32>()
    }

    pub(crate) fn tensor<const D: usize>(self) -> Tensor<D> {
        Tensor::from_primitive::<Flex>(self.0)
    }
}

/// Integers of a tensor as indices.
pub(crate) fn indices<const D: usize>(tensor: Tensor<D, Int>) -> Vec<usize> {
    let values: TensorData = tensor.into_data();
    values.iter::<i64>().map(|index| index as usize).collect()
}
