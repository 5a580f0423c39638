//! From the protocol's name of a device to the tensor library's device.

use headwater_nn::Device;
use headwater_protocol::DeviceKind;

/// The devices this binary was built for.
#[must_use]
pub fn devices() -> &'static [DeviceKind] {
    &[
        DeviceKind::Flex,
        #[cfg(feature = "wgpu")]
        DeviceKind::Wgpu,
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda,
    ]
}

/// A device this binary was not built for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device `{0}` is not in this build; build with `--features {0}`; allowed is flex")]
pub(crate) struct NoDevice(&'static str);

/// The device called `kind`, without autodiff.
///
/// # Errors
/// When this binary was built without it.
pub(crate) fn device(kind: DeviceKind) -> Result<Device, NoDevice> {
    match kind {
        DeviceKind::Flex => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        DeviceKind::Wgpu => Ok(headwater_nn::wgpu()),
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda => Ok(headwater_nn::cuda()),
        #[allow(unreachable_patterns, reason = "with every feature on, nothing is left")]
        other => Err(NoDevice(other.name())),
    }
}
