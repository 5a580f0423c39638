//! Devices this build knows.

/// The default adapter of WebGPU (Vulkan, Metal or DirectX underneath; a software driver will do).
#[cfg(feature = "wgpu")]
#[must_use]
pub fn wgpu() -> burn::tensor::Device {
    burn::tensor::Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)
}

/// The first CUDA device.
#[cfg(feature = "cuda")]
#[must_use]
pub fn cuda() -> burn::tensor::Device {
    burn::tensor::Device::cuda(0usize)
}
