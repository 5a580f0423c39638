//! A critic: a decoder of its own with a scalar head on its hidden states.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use headwater_nn::{Checkpoint, Decoder, NnError, SequenceBatch, pack, unpack, unpack_values};

/// Values of the states before each completion token.
///
/// The body is separate from the policy (as in verl and OpenRLHF), so that the value loss cannot move
/// the policy; it starts from the policy's weights with a head of zeros.
#[derive(Module, Debug)]
pub struct ValueModel {
    body: Decoder,
    head: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl ValueModel {
    /// A critic whose body starts as a copy of `policy`; every value is 0.
    #[must_use]
    pub fn new(policy: &Decoder) -> Self {
        let device: Device = policy.device();
        let width = policy.shape().width;
        let zeros = |count: usize| TensorData::new(vec![0.0f32; count], [count, 1]);
        Self {
            body: policy.clone(),
            head: Param::from_data(zeros(width), &device),
            bias: Param::from_data(TensorData::new(vec![0.0f32], [1]), &device),
        }
    }

    /// The weights as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let values = |tensor: Vec<f32>| tensor.iter().flat_map(|v| v.to_le_bytes()).collect();
        let head = self.head.val().inner().try_into_vec_as::<f32>();
        let bias = self.bias.val().inner().try_into_vec_as::<f32>();
        pack(&[
            ("body", Checkpoint::of(&self.body).to_bytes()),
            ("head", values(head.expect("the head is f32"))),
            ("bias", values(bias.expect("the bias is f32"))),
        ])
    }

    /// A critic from [`ValueModel::to_bytes`], on `device`.
    ///
    /// # Errors
    /// Bytes that are no critic.
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, NnError> {
        let body = Checkpoint::from_bytes(&unpack(bytes, "body")?)?.decoder(device)?;
        let (head, bias) = (unpack_values(bytes, "head")?, unpack_values(bytes, "bias")?);
        let width = body.shape().width;
        if head.len() != width || bias.len() != 1 {
            let problem = format!("head of {} and bias of {} values", head.len(), bias.len());
            return Err(NnError::Malformed { format: "critic", problem });
        }
        Ok(Self {
            body,
            head: Param::from_data(TensorData::new(head, [width, 1]), device),
            bias: Param::from_data(TensorData::new(bias, [1]), device),
        })
    }

    /// Values `[sequences, width]`: column j is the value of the state in which completion token j is
    /// chosen. On padding they mean nothing.
    pub fn values(&self, batch: &SequenceBatch) -> Tensor<2> {
        let hidden = batch.hidden(&self.body);
        let [sequences, columns, width] = hidden.dims();
        let values = hidden.reshape([sequences * columns, width]).matmul(self.head.val());
        values.reshape([sequences, columns]) + self.bias.val().unsqueeze()
    }
}
