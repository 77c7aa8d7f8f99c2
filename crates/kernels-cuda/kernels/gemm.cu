// Products of matrices in 8, 16 and 32 bits: bmm_fp8, mm_fp8, mm_bf16 and bmm_bf16.
//
// out[b] = (a[b] * a_scale) (b[b] * b_scale) * alpha + bias: the scales are multiplied in before the sum, alpha after it,
// and the result is rounded once. Factors may lie in any order, by their strides. Grid [n / 64, m / 64, batch], each
// rounded up, and the last two at most 65535; block [16, 16].
#include "product.cuh"

// By value. Strides count elements.
struct Product {
    // [batch, m, k] and [batch, k, n], of the kernel's types.
    const void* a;
    const void* b;
    // [batch, m, n] of `out_type`, row-major.
    void* out;
    // [n] of `bias_type`, or null.
    const void* bias;
    i64 a_batch_stride;
    i64 a_row_stride;
    i64 a_k_stride;
    i64 b_batch_stride;
    i64 b_k_stride;
    i64 b_column_stride;
    u32 m;
    u32 n;
    u32 k;
    Type out_type;
    Type bias_type;
    float a_scale;
    float b_scale;
    float alpha;
};
static_assert(sizeof(Product) == 112);

template <class A, class B>
__device__ void gemm(const Product& p) {
    const A* a = static_cast<const A*>(p.a) + blockIdx.z * p.a_batch_stride;
    const B* b = static_cast<const B*>(p.b) + blockIdx.z * p.b_batch_stride;
    const i64 out = static_cast<i64>(blockIdx.z) * p.m * p.n;
    multiply(
        p.m, p.n, p.k, p.a_k_stride == 1, p.b_k_stride == 1,
        [&](u32 row, u32 k) { return to_float(a[row * p.a_row_stride + k * p.a_k_stride]) * p.a_scale; },
        [&](u32 column, u32 k) { return to_float(b[column * p.b_column_stride + k * p.b_k_stride]) * p.b_scale; },
        [&](u32 row, u32 column, float sum) {
            float value = sum * p.alpha;
            if (p.bias) value += load(p.bias, column, p.bias_type);
            store(p.out, out + static_cast<i64>(row) * p.n + column, p.out_type, value);
        });
}

#define GEMM(name, A, B) \
    extern "C" __global__ void __launch_bounds__(256) name(Product product) { gemm<A, B>(product); }

GEMM(gemm_e4m3_e4m3, e4m3, e4m3)
GEMM(gemm_e4m3_e5m2, e4m3, e5m2)
GEMM(gemm_e5m2_e4m3, e5m2, e4m3)
GEMM(gemm_e5m2_e5m2, e5m2, e5m2)
GEMM(gemm_bf16_bf16, bf16, bf16)
GEMM(gemm_f16_f16, f16, f16)
GEMM(gemm_f32_f32, float, float)
