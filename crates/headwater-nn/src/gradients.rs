//! The gradients of a module's parameters.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::container::TensorContainer;
use burn::tensor::{Gradients, Tensor};

/// The gradient of a loss with respect to the parameters of one module, by parameter.
///
/// A parameter that the loss does not use has no gradient.
#[derive(Debug, Default)]
pub struct ModuleGradients {
    by_parameter: TensorContainer<ParamId>,
}

impl ModuleGradients {
    /// No gradient at all: what sums begin with.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The gradient of `loss`, a tensor of one element that was computed with `module`.
    #[must_use]
    pub fn of<M: Module>(loss: &Tensor<1>, module: &M) -> Self {
        let mut collect = Collect { graph: loss.backward(), into: Self::none() };
        module.visit(&mut collect);
        collect.into
    }

    /// Adds `other`, the gradient of a further loss with respect to the same `module`.
    pub fn add<M: Module>(&mut self, other: Self, module: &M) {
        module.visit(&mut Add { other, into: self });
    }

    /// The gradient of a parameter, with the parameter's shape.
    #[must_use]
    pub fn get<const D: usize>(&self, parameter: ParamId) -> Option<Tensor<D>> {
        self.by_parameter.get(&parameter)
    }

    /// Takes the gradient of a parameter out, so that its storage has one holder.
    pub fn remove<const D: usize>(&mut self, parameter: ParamId) -> Option<Tensor<D>> {
        self.by_parameter.remove(&parameter)
    }
}

struct Collect {
    graph: Gradients,
    into: ModuleGradients,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // Asking for the gradient of a tensor outside the graph panics.
        if !param.is_require_grad() {
            return;
        }
        if let Some(gradient) = param.val().grad_remove(&mut self.graph) {
            self.into.by_parameter.register(param.id, gradient);
        }
    }
}

struct Add<'a> {
    other: ModuleGradients,
    into: &'a mut ModuleGradients,
}

impl ModuleVisitor for Add<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(further) = self.other.remove::<D>(param.id) else { return };
        let sum = match self.into.remove::<D>(param.id) {
            Some(so_far) => so_far.add(further),
            None => further,
        };
        self.into.by_parameter.register(param.id, sum);
    }
}
