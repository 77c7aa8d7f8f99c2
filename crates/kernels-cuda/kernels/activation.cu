// Gated activations: the first half of a row goes through a function and is multiplied by the second (Shazeer, "GLU
// Variants Improve Transformer", 2020).
//
// `input` is [rows, 2 width], `out` [rows, width], with neighbouring elements in a row; strides count elements. Both
// steps are in f32, with one rounding at the end. A block per row: grid [rows], any block of one dimension.
#include "rows.cuh"

template <class T, class Activation>
__device__ void gate(const T* input, T* out, u32 width, i64 input_stride, i64 out_stride, Activation activation) {
    const T* gates = input + blockIdx.x * input_stride;
    map_pairs(gates, gates + width, out + blockIdx.x * out_stride, width,
              [&](float x, float y) { return activation(x) * y; });
}

// x / (1 + e^-x) (Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units", 2017).
struct Silu {
    __device__ float operator()(float x) const { return x / (1.0f + expf(-x)); }
};

// x/2 (1 + erf(x / sqrt 2)) (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016), written with
// erfc(-z) = 1 + erf(z), which keeps the digits that the sum loses where x is negative.
struct Gelu {
    __device__ float operator()(float x) const { return 0.5f * x * erfcf(-x * 0.70710678f); }
};

// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), from the same paper, written with 2 / (1 + e^-2z) = 1 + tanh z.
struct GeluTanh {
    __device__ float operator()(float x) const {
        const float z = 0.7978846f * (x + 0.044715f * x * x * x);
        return x / (1.0f + expf(-2.0f * z));
    }
};

#define GATE(name, T, Activation)                                                                           \
    extern "C" __global__ void name(const T* input, T* out, u32 width, i64 input_stride, i64 out_stride) {  \
        gate(input, out, width, input_stride, out_stride, Activation{});                                    \
    }

GATE(silu_and_mul_f16, f16, Silu)
GATE(silu_and_mul_bf16, bf16, Silu)
GATE(silu_and_mul_f32, float, Silu)
GATE(gelu_and_mul_f16, f16, Gelu)
GATE(gelu_and_mul_bf16, bf16, Gelu)
GATE(gelu_and_mul_f32, float, Gelu)
GATE(gelu_tanh_and_mul_f16, f16, GeluTanh)
GATE(gelu_tanh_and_mul_bf16, bf16, GeluTanh)
GATE(gelu_tanh_and_mul_f32, float, GeluTanh)
