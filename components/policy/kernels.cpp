// What a decode step does between its matrix products, in one pass over memory each: RMS norm, rotary embedding with the
// cache write and attention over cached tokens, and sampling. Plain loops that the compiler vectorises; no library but
// OpenMP. Every function has a slow twin in torch that the tests hold it to. Called by kernels.py through ctypes.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

// A bfloat16 as stored: the upper half of a float's bits.
struct Half {
    uint16_t bits;
};

inline float wide(float x) { return x; }
inline float wide(Half x) {
    uint32_t bits = uint32_t(x.bits) << 16;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
}

inline void store(float* to, float x) { *to = x; }
inline void store(Half* to, float x) {  // to the nearest, ties to even
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    to->bits = x != x ? uint16_t(0x7fc0) : uint16_t(rounded);
}

// e^x for x <= 0 with a relative error under 2e-7; 0 below -87. A NaN stays one.
inline float falling_exp(float x) {
    const float kept = x < -87.0f ? -87.0f : x;
    const float n = std::nearbyint(kept * 1.44269504f);
    const float r = kept - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits = uint32_t(int32_t(n) + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, 4);
    return x < -87.0f ? 0.0f : p * scale;
}

template <class T>
void norm(const T* x, T* out, int64_t count, int64_t width, float eps) {
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < count; ++n) {
        const T* row = x + n * width;
        float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < width; ++i) squares += wide(row[i]) * wide(row[i]);
        const float scale = 1.0f / std::sqrt(squares / float(width) + eps);
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) store(out + n * width + i, wide(row[i]) * scale);
    }
}

struct Shape {
    int64_t heads, kv_heads, dim, width;  // width: tokens that a row of the cache has room for
};

// One head turned by its position; sin carries the sign of the rotation in its first half.
template <class T>
inline void rotate(const T* x, const T* cos, const T* sin, int64_t dim, float* out) {
    const int64_t half = dim / 2;
    for (int64_t i = 0; i < half; ++i) {
        out[i] = wide(x[i]) * wide(cos[i]) + wide(x[i + half]) * wide(sin[i]);
        out[i + half] = wide(x[i + half]) * wide(cos[i + half]) + wide(x[i]) * wide(sin[i + half]);
    }
}

template <int DIM, int GROUP, class T>
void scores_of(const float* q, const T* keys, int64_t stride, int64_t tokens, int64_t dim, int64_t group, float* scores,
               int64_t pitch) {
    const int64_t d = DIM ? DIM : dim, g = GROUP ? GROUP : group;
    for (int64_t t = 0; t < tokens; ++t) {
        const T* key = keys + t * stride;
        for (int64_t h = 0; h < g; ++h) {
            float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < d; ++i) sum += q[h * d + i] * wide(key[i]);
            scores[h * pitch + t] = sum;
        }
    }
}

template <int DIM, int GROUP, class T>
void mix(const float* weights, int64_t pitch, const T* values, int64_t stride, int64_t tokens, int64_t dim,
         int64_t group, float* out) {
    const int64_t d = DIM ? DIM : dim, g = GROUP ? GROUP : group;
    float sums[(DIM && GROUP) ? DIM * GROUP : 1];
    float* to = (DIM && GROUP) ? sums : out;
    for (int64_t i = 0; i < d * g; ++i) to[i] = 0.0f;
    for (int64_t t = 0; t < tokens; ++t) {
        const T* value = values + t * stride;
        for (int64_t h = 0; h < g; ++h) {
            const float weight = weights[h * pitch + t];
#pragma omp simd
            for (int64_t i = 0; i < d; ++i) to[h * d + i] += weight * wide(value[i]);
        }
    }
    if (to != out) std::memcpy(out, sums, sizeof(float) * size_t(d * g));
}

inline void softmax(float* scores, int64_t count) {
    float top = -INFINITY, total = 0.0f;
    for (int64_t t = 0; t < count; ++t) top = scores[t] > top ? scores[t] : top;
#pragma omp simd reduction(+ : total)
    for (int64_t t = 0; t < count; ++t) {
        scores[t] = falling_exp(scores[t] - top);
        total += scores[t];
    }
    const float scale = 1.0f / total;
#pragma omp simd
    for (int64_t t = 0; t < count; ++t) scores[t] *= scale;
}

// One key-value head of one new token: its group of query heads over the tokens of its row up to itself.
template <int DIM, int GROUP, class T>
void attend_head(const float* q, const T* keys, const T* values, int64_t tokens, const Shape& s, float* scratch,
                 T* out) {
    const int64_t group = s.heads / s.kv_heads, stride = s.kv_heads * s.dim;
    float* mixed = scratch + group * tokens;
    scores_of<DIM, GROUP>(q, keys, stride, tokens, s.dim, group, scratch, tokens);
    for (int64_t h = 0; h < group; ++h) softmax(scratch + h * tokens, tokens);
    mix<DIM, GROUP>(scratch, tokens, values, stride, tokens, s.dim, group, mixed);
    for (int64_t i = 0; i < group * s.dim; ++i) store(out + i, mixed[i]);
}

template <class T>
void attend(const T* qkv, const T* cos, const T* sin, T* keys, T* values, const int64_t* rows, const int64_t* positions,
            int64_t count, const Shape& s, T* out) {
    const int64_t group = s.heads / s.kv_heads, across = (s.heads + 2 * s.kv_heads) * s.dim;
    const int64_t stride = s.kv_heads * s.dim;
    int64_t longest = 0;
    for (int64_t n = 0; n < count; ++n) longest = positions[n] >= longest ? positions[n] + 1 : longest;
#pragma omp parallel
    {
        std::vector<float> q(size_t(group * s.dim)), scratch(size_t(group * (longest + s.dim)));
#pragma omp for schedule(static)
        for (int64_t n = 0; n < count; ++n) {
            const int64_t cell = (rows[n] * s.width + positions[n]) * stride;
            for (int64_t h = 0; h < s.kv_heads; ++h) {
                const T* key = qkv + n * across + (s.heads + h) * s.dim;
                rotate(key, cos + positions[n] * s.dim, sin + positions[n] * s.dim, s.dim, q.data());
                for (int64_t i = 0; i < s.dim; ++i) store(keys + cell + h * s.dim + i, q[size_t(i)]);
            }
            std::memcpy(values + cell, qkv + n * across + (s.heads + s.kv_heads) * s.dim, sizeof(T) * size_t(stride));
        }
        const float scale = 1.0f / std::sqrt(float(s.dim));
#pragma omp for schedule(dynamic, 4)
        for (int64_t task = 0; task < count * s.kv_heads; ++task) {
            const int64_t n = task / s.kv_heads, h = task % s.kv_heads;
            for (int64_t g = 0; g < group; ++g) {
                const T* head = qkv + n * across + (h * group + g) * s.dim;
                rotate(head, cos + positions[n] * s.dim, sin + positions[n] * s.dim, s.dim, q.data() + g * s.dim);
            }
            for (float& x : q) x *= scale;
            const int64_t row = rows[n] * s.width * stride + h * s.dim;
            T* to = out + (n * s.heads + h * group) * s.dim;
            auto head = s.dim == 64 && group == 3 ? attend_head<64, 3, T>
                        : s.dim == 64             ? attend_head<64, 0, T>
                        : s.dim == 128            ? attend_head<128, 0, T>
                                                  : attend_head<0, 0, T>;
            head(q.data(), keys + row, values + row, positions[n] + 1, s, scratch.data(), to);
        }
    }
}

const int64_t BLOCK = 128;

// Sum of e^((x - top) / temperature) over a block of tokens.
template <class T>
inline float block_sum(const T* x, int64_t count, float top, float heat) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; ++i) sum += falling_exp((wide(x[i]) - top) * heat);
    return sum;
}

// The token where the cumulative weight passes `share` of the whole; never one of weight zero.
template <class T>
int64_t draw(const T* x, int64_t vocabulary, float top, float heat, float share, std::vector<float>& sums) {
    double total = 0.0;
    for (size_t b = 0; b < sums.size(); ++b) total += sums[b];
    double left = double(share) * total;
    size_t block = 0, last = 0;
    for (size_t b = 0; b < sums.size(); ++b)
        if (sums[b] > 0.0f) last = b;
    while (block < last && left >= sums[block]) left -= sums[block++];
    const int64_t first = int64_t(block) * BLOCK, stop = first + BLOCK < vocabulary ? first + BLOCK : vocabulary;
    int64_t token = first;
    for (int64_t i = first; i < stop; ++i) {
        const float weight = wide(x[i]) == -INFINITY ? 0.0f : falling_exp((wide(x[i]) - top) * heat);
        if (weight <= 0.0f) continue;
        token = i;
        if (left < weight) break;
        left -= weight;
    }
    return token;
}

template <class T>
void sample(const T* logits, const float* temperatures, const float* uniform, int64_t count, int64_t vocabulary,
            int64_t* tokens, float* logprobs) {
#pragma omp parallel
    {
        std::vector<float> sums(size_t((vocabulary + BLOCK - 1) / BLOCK));
#pragma omp for schedule(dynamic, 1)
        for (int64_t n = 0; n < count; ++n) {
            const T* x = logits + n * vocabulary;
            float top = -INFINITY;
#pragma omp simd reduction(max : top)
            for (int64_t i = 0; i < vocabulary; ++i) top = wide(x[i]) > top ? wide(x[i]) : top;
            double total = 0.0;
            for (size_t b = 0; b < sums.size(); ++b) {
                const int64_t first = int64_t(b) * BLOCK, left = vocabulary - first;
                total += sums[b] = block_sum(x + first, left < BLOCK ? left : BLOCK, top, 1.0f);
            }
            int64_t token = 0;
            if (temperatures[n] > 0.0f) {
                const float heat = 1.0f / temperatures[n];
                if (heat != 1.0f)
                    for (size_t b = 0; b < sums.size(); ++b) {
                        const int64_t first = int64_t(b) * BLOCK, left = vocabulary - first;
                        sums[b] = block_sum(x + first, left < BLOCK ? left : BLOCK, top, heat);
                    }
                token = draw(x, vocabulary, top, heat, uniform[n], sums);
            } else {
                while (token + 1 < vocabulary && !(wide(x[token]) == top)) ++token;
            }
            tokens[n] = token;
            logprobs[n] = float(double(wide(x[token]) - top) - std::log(total));
        }
    }
}

}  // namespace

extern "C" {
#define QANAT_KERNELS(NAME, T)                                                                                        \
    void norm_##NAME(const void* x, void* out, int64_t count, int64_t width, float eps) {                             \
        norm(static_cast<const T*>(x), static_cast<T*>(out), count, width, eps);                                      \
    }                                                                                                                 \
    void attend_##NAME(const void* qkv, const void* cos, const void* sin, void* keys, void* values,                   \
                       const int64_t* rows, const int64_t* positions, int64_t count, int64_t heads, int64_t kv_heads, \
                       int64_t dim, int64_t width, void* out) {                                                       \
        attend(static_cast<const T*>(qkv), static_cast<const T*>(cos), static_cast<const T*>(sin),                    \
               static_cast<T*>(keys), static_cast<T*>(values), rows, positions, count,                                \
               Shape{heads, kv_heads, dim, width}, static_cast<T*>(out));                                             \
    }                                                                                                                 \
    void sample_##NAME(const void* logits, const float* temperatures, const float* uniform, int64_t count,            \
                       int64_t vocabulary, int64_t* tokens, float* logprobs) {                                        \
        sample(static_cast<const T*>(logits), temperatures, uniform, count, vocabulary, tokens, logprobs);            \
    }
QANAT_KERNELS(bfloat16, Half)
QANAT_KERNELS(float32, float)
}
