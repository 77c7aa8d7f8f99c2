// Normalisation over the last dimension.
//
// rmsnorm: x / sqrt(mean(x^2) + eps) * (weight_offset + weight) (Zhang and Sennrich, "Root Mean Square Layer
// Normalization", 2019). `input` and `out` are [rows, width] with neighbouring elements in a row; strides count
// elements. `weight_offset` is 0, or 1 for weights as the Gemma models store them. All is computed in f32 and rounded
// once. A block per row: grid [rows], any whole warps.
#include "block.cuh"
#include "rows.cuh"

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
