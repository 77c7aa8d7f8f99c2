// Runs each kernel whose threads work together, for the thread sanitizer to look on: a thread of the host for each CUDA
// thread. The numbers do not matter here, other tests compare them; the sizes do: more than one block and warp, and
// lengths that do not divide the tiles.
#include <cstdio>
#include <cstdlib>
#include <vector>

// The table, and with it the structures that kernels take.
#include "kernels.cpp"

namespace {

using Bytes = std::vector<unsigned char>;

// Bytes that are small numbers in every float type: neither infinite nor NaN.
Bytes numbers(size_t count) {
    Bytes bytes(count);
    unsigned state = 1;
    for (unsigned char& byte : bytes) byte = 0x20 | ((state = state * 1103515245 + 12345) >> 16 & 0x1f);
    return bytes;
}

struct Shape {
    unsigned grid[3];
    unsigned block[3];
    unsigned shared_bytes;
};

template <class... Parameters>
void launch(const char* name, Shape shape, Parameters... parameters) {
    size_t count;
    const CallboxKernel* kernels = callbox_kernels(&count);
    const CallboxKernel* kernel = nullptr;
    for (size_t i = 0; i < count; ++i) {
        if (strcmp(kernels[i].name, name) == 0) kernel = &kernels[i];
    }
    const size_t sizes[] = {sizeof(Parameters)...};
    if (!kernel || kernel->param_count != sizeof...(Parameters) ||
        memcmp(kernel->param_sizes, sizes, sizeof sizes) != 0) {
        fprintf(stderr, "no kernel %s with such parameters\n", name);
        exit(2);
    }
    void* pointers[] = {&parameters...};
    kernel->launch(shape.grid, shape.block, shape.shared_bytes, pointers);
    printf("%s\n", name);
}

void norm() {
    Bytes input = numbers(4 * 3 * 300), weight = numbers(4 * 300), out(4 * 3 * 300);
    for (const char* name : {"rmsnorm_f16", "rmsnorm_bf16", "rmsnorm_f32"}) {
        launch(name, {{3, 1, 1}, {128, 1, 1}, 0}, input.data(), weight.data(), out.data(), 300u, 300ll, 300ll, 1e-6f,
               0.0f);
    }
    launch("fused_add_rmsnorm_bf16", {{3, 1, 1}, {128, 1, 1}, 0}, input.data(), out.data(), weight.data(), 300u, 300ll,
           300ll, 1e-6f, 0.0f);
    launch("layernorm_bf16", {{3, 1, 1}, {128, 1, 1}, 0}, input.data(), weight.data(), weight.data(), out.data(), 300u,
           300ll, 300ll, 1e-6f);
}

void statistics() {
    Bytes data = numbers(8 * 1000);
    std::vector<Partial> partials(3);
    Statistics numbers;
    for (const char* name : {"statistics_partial_f64", "statistics_partial_f16", "statistics_partial_u8"}) {
        launch(name, {{3, 1, 1}, {64, 1, 1}, 0}, data.data(), View{1000, 0, {}, {}}, partials.data());
    }
    for (const char* name : {"statistics_finish_float", "statistics_finish_integer"}) {
        launch(name, {{1, 1, 1}, {64, 1, 1}, 0}, partials.data(), 3u, 1000ull, &numbers);
    }
}

// Three sequences, one of them empty, in pages of four tokens; two kv heads with two query heads each.
void attention(const char* name, Encoding encoding) {
    constexpr u32 width = 20, page_size = 4, rows = 3, keys = 5;
    const i32 qo_indptr[] = {0, 3, 4, 9}, kv_indptr[] = {0, 4, 4, 7}, last_page_len[] = {1, 0, 4};
    const i32 indices[] = {3, 0, 6, 1, 2, 5, 4};
    Bytes queries = numbers(4 * 9 * 4 * width), cache = numbers(4 * 7 * page_size * 2 * width);
    std::vector<float> out(9 * 4 * width), lse(9 * 4), sinks(4, 1.0f);
    Attention a = {};
    a.queries = queries.data();
    a.keys = a.values = cache.data();
    a.out = out.data();
    a.lse = lse.data();
    a.qo_indptr = qo_indptr;
    a.kv_indptr = kv_indptr;
    a.kv_indices = indices;
    a.last_page_len = last_page_len;
    a.sinks = sinks.data();
    a.q_row_stride = 4 * width;
    a.q_head_stride = width;
    a.k_page_stride = a.v_page_stride = page_size * 2 * width;
    a.k_slot_stride = a.v_slot_stride = 2 * width;
    a.k_head_stride = a.v_head_stride = width;
    a.window_left = -1;
    a.page_size = page_size;
    a.qo_heads = 4;
    a.kv_heads = 2;
    a.head_dim = a.head_dim_vo = width;
    a.query_type = Type::bf16;
    a.encoding = encoding;
    a.rope_theta = 1e4f;
    a.rope_scale = a.sm_scale = a.v_scale = a.soft_cap = 1.0f;
    a.tile_rows = rows;
    a.tile_keys = keys;
    a.row_tiles = 4;
    const unsigned floats = rows * (2 * width + keys + 3) + keys * ((width | 1) + width) + width / 2;
    launch(name, {{3 * a.row_tiles, 2, 1}, {64, 1, 1}, 4 * floats}, a);
}

void products() {
    constexpr u32 m = 70, k = 64, n = 3;
    Bytes a = numbers(4 * m * k), b = numbers(4 * n * k), scales = numbers(128 * 4);
    std::vector<float> out(m * n);
    Product product = {};
    product.a = a.data();
    product.b = b.data();
    product.out = out.data();
    product.a_row_stride = product.b_column_stride = k;
    product.a_k_stride = product.b_k_stride = 1;
    product.m = m;
    product.n = n;
    product.k = k;
    product.a_scale = product.b_scale = product.alpha = 1.0f;
    const Shape tiles = {{1, 2, 1}, {16, 16, 1}, 0};
    launch("gemm_e4m3_e5m2", tiles, product);
    launch("gemm_f32_f32", tiles, product);

    const Fp4Factor rows = {a.data(), scales.data(), k / 2, 1, ScaleLayout::tiles_128x4, 0};
    const Fp4Factor columns = {b.data(), scales.data(), k / 2, 1, ScaleLayout::tiles_128x4, 0};
    launch("mm_fp4", tiles, Fp4Product{rows, columns, out.data(), nullptr, m, n, k, 16, 0, Type::f32, 1.0f, 0});
}

}  // namespace

int main() {
    norm();
    statistics();
    attention("attention_f16", Encoding::none);
    attention("attention_e4m3", Encoding::rope_llama);
    products();
}
