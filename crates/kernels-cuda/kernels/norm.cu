// Normalisation over the last dimension.
//
// Tensors are [rows, width] with neighbouring elements in a row; strides count elements. `weight_offset` is 0, or 1 for
// weights as the Gemma models store them. All is computed in f32 and rounded once. A block per row: grid [rows], any
// whole warps.
#include "block.cuh"
#include "rows.cuh"

// x / sqrt(mean(x^2) + eps) * (weight_offset + weight) (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).
template <class T>
__device__ void rmsnorm(const T* input, const T* weight, T* out, u32 width, i64 input_stride, i64 out_stride, float eps,
                        float weight_offset) {
    const T* row = input + blockIdx.x * input_stride;
    float squares = 0.0f;
    for_each(row, width, [&](float x) { squares += x * x; });
    float sum = 0.0f;
    if (!PLANTED(BUG_DIVERGENT_BARRIER) || threadIdx.x < warp_size) sum = block_sum(squares);
    const float scale = 1.0f / sqrtf(sum / static_cast<float>(width) + eps);
    map_pairs(row, weight, out + blockIdx.x * out_stride, width,
              [&](float x, float w) { return x * scale * (weight_offset + w); });
}

#if PLANTED(BUG_FORGOTTEN_ARGUMENT)
#define FORGOTTEN , u32
#else
#define FORGOTTEN
#endif

#define RMSNORM(name, T)                                                                                           \
    extern "C" __global__ void name(const T* input, const T* weight, T* out, u32 width, i64 input_stride,          \
                                    i64 out_stride, float eps, float weight_offset FORGOTTEN) {                    \
        rmsnorm(input, weight, out, width, input_stride, out_stride, eps, weight_offset);                          \
    }

RMSNORM(rmsnorm_f16, f16)
RMSNORM(rmsnorm_bf16, bf16)
RMSNORM(rmsnorm_f32, float)

// s = input + residual; residual = s; input = rmsnorm(s): both in place, the norm of the sum before that is rounded.
template <class T>
__device__ void fused_add_rmsnorm(T* input, T* residual, const T* weight, u32 width, i64 input_stride,
                                  i64 residual_stride, float eps, float weight_offset) {
    T* row = input + blockIdx.x * input_stride;
    T* other = residual + blockIdx.x * residual_stride;
    float squares = 0.0f;
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        const float sum = to_float(row[i]) + to_float(other[i]);
        squares += sum * sum;
    }
    const float scale = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(width) + eps);
    // Each thread writes only what it alone has read.
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        const float sum = to_float(row[i]) + to_float(other[i]);
        other[i] = from_float<T>(sum);
        row[i] = from_float<T>(sum * scale * (weight_offset + to_float(weight[i])));
    }
}

// (x - mean) / sqrt(variance + eps) * gamma + beta (Ba, Kiros and Hinton, "Layer Normalization", 2016), with gamma and
// beta in f32.
template <class T>
__device__ void layernorm(const T* input, const float* gamma, const float* beta, T* out, u32 width, i64 input_stride,
                          i64 out_stride, float eps) {
    const T* row = input + blockIdx.x * input_stride;
    T* result = out + blockIdx.x * out_stride;
    float sum = 0.0f, squares = 0.0f;
    for_each(row, width, [&](float x) { sum += x; });
    const float mean = block_sum(sum) / static_cast<float>(width);
    for_each(row, width, [&](float x) { squares += (x - mean) * (x - mean); });
    const float scale = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(width) + eps);
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        result[i] = from_float<T>((to_float(row[i]) - mean) * scale * gamma[i] + beta[i]);
    }
}

#define NORMS(suffix, T)                                                                                           \
    extern "C" __global__ void fused_add_rmsnorm_##suffix(T* input, T* residual, const T* weight, u32 width,       \
                                                          i64 input_stride, i64 residual_stride, float eps,        \
                                                          float weight_offset) {                                   \
        fused_add_rmsnorm(input, residual, weight, width, input_stride, residual_stride, eps, weight_offset);      \
    }                                                                                                              \
    extern "C" __global__ void layernorm_##suffix(const T* input, const float* gamma, const float* beta, T* out,   \
                                                  u32 width, i64 input_stride, i64 out_stride, float eps) {        \
        layernorm(input, gamma, beta, out, width, input_stride, out_stride, eps);                                  \
    }

NORMS(f16, f16)
NORMS(bf16, bf16)
NORMS(f32, float)
