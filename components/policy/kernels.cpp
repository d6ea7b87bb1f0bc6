// What a decode step does between its matrix products, in one pass over memory each: RMS norm, rotary embedding with
// the cache write and attention over cached tokens, and sampling; and what scoring and training do there: attention
// along prefix trees, the norm and the gated unit, with their gradients. Plain loops that the compiler vectorises; no
// library but OpenMP. Every function has a slow twin in torch that the tests hold it to. Called by kernels.py.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <omp.h>
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

// As many floats as one register of the machine holds. Wider vectors are legal, but the compiler then keeps them in
// memory: on AVX2, attention along trees took ten times as long.
#if defined(__AVX512F__)
#define QANAT_LANES 16
#elif defined(__AVX__)
#define QANAT_LANES 8
#else
#define QANAT_LANES 4
#endif
const int64_t LANES = QANAT_LANES;
typedef float Lanes __attribute__((vector_size(4 * QANAT_LANES)));
// Vectors of a row that a loop sums up at once: with three or four rows they fill the registers and spill none.
const int ABREAST = 4;

inline Lanes read(const float* x) {
    Lanes y;
    std::memcpy(&y, x, sizeof y);
    return y;
}
inline Lanes read(const Half* x) {
    typedef uint16_t Narrow __attribute__((vector_size(2 * QANAT_LANES)));
    typedef uint32_t Wide __attribute__((vector_size(4 * QANAT_LANES)));
    Narrow bits;
    std::memcpy(&bits, x, sizeof bits);
    const Wide moved = __builtin_convertvector(bits, Wide) << 16;
    Lanes y;
    std::memcpy(&y, &moved, sizeof y);
    return y;
}
inline void write(float* x, Lanes y) { std::memcpy(x, &y, sizeof y); }

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
inline float inverse_rms(const T* row, int64_t width, float eps) {
    float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < width; ++i) squares += wide(row[i]) * wide(row[i]);
    return 1.0f / std::sqrt(squares / float(width) + eps);
}

template <class T>
void norm(const T* x, T* out, int64_t count, int64_t width, float eps) {
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < count; ++n) {
        const float scale = inverse_rms(x + n * width, width, eps);
#pragma omp simd
        for (int64_t i = n * width; i < (n + 1) * width; ++i) store(out + i, wide(x[i]) * scale);
    }
}

// What training needs of the norm: x / rms(x) * gain, and its gradients.
template <class T>
void scaled_norm(const T* x, const T* gain, T* out, int64_t count, int64_t width, float eps) {
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < count; ++n) {
        const float scale = inverse_rms(x + n * width, width, eps);
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) store(out + n * width + i, wide(x[n * width + i]) * scale * wide(gain[i]));
    }
}

template <class T>
void scaled_norm_backward(const T* grad, const T* x, const T* gain, T* grad_x, float* grad_gain, int64_t count,
                          int64_t width, float eps) {
    // a part of the gain's gradient a thread, added in the order of the threads: the same sum every time
    std::vector<float> parts(size_t(omp_get_max_threads()) * size_t(width), 0.0f);
#pragma omp parallel
    {
        float* part = parts.data() + omp_get_thread_num() * width;
#pragma omp for schedule(static)
        for (int64_t n = 0; n < count; ++n) {
            const T *row = x + n * width, *above = grad + n * width;
            const float scale = inverse_rms(row, width, eps);
            float along = 0.0f;
#pragma omp simd reduction(+ : along)
            for (int64_t i = 0; i < width; ++i) along += wide(above[i]) * wide(gain[i]) * wide(row[i]);
            const float back = along * scale * scale * scale / float(width);
#pragma omp simd
            for (int64_t i = 0; i < width; ++i) {
                part[i] += wide(above[i]) * wide(row[i]) * scale;
                store(grad_x + n * width + i, wide(above[i]) * wide(gain[i]) * scale - wide(row[i]) * back);
            }
        }
    }
    std::fill(grad_gain, grad_gain + width, 0.0f);
    for (size_t i = 0; i < parts.size(); ++i) grad_gain[i % size_t(width)] += parts[i];
}

typedef uint16_t Eight __attribute__((vector_size(16)));

// Eight rows of eight 16-bit values turned into columns: interleaving row i with row i + 4 three times does it.
inline void turn(const uint16_t* x, int64_t x_stride, uint16_t* out, int64_t out_stride) {
    Eight rows[8], mixed[8];
    for (int i = 0; i < 8; ++i) std::memcpy(&rows[i], x + i * x_stride, 16);
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 4; ++i) {
            mixed[2 * i] = __builtin_shuffle(rows[i], rows[i + 4], Eight{0, 8, 1, 9, 2, 10, 3, 11});
            mixed[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + 4], Eight{4, 12, 5, 13, 6, 14, 7, 15});
        }
        std::memcpy(rows, mixed, sizeof rows);
    }
    for (int i = 0; i < 8; ++i) std::memcpy(out + i * out_stride, &rows[i], 16);
}

inline void turn(const Half* x, int64_t x_stride, Half* out, int64_t out_stride) {
    turn(&x->bits, x_stride, &out->bits, out_stride);
}
inline void turn(const float* x, int64_t x_stride, float* out, int64_t out_stride) {
    for (int i = 0; i < 8; ++i)
        for (int j = 0; j < 8; ++j) out[j * out_stride + i] = x[i * x_stride + j];
}

// out [columns, rows] = x [rows, columns]^T, in squares of which every line of memory stays near until it is done.
template <class T>
void transpose(const T* x, T* out, int64_t rows, int64_t columns) {
    const int64_t side = 32;
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t c = 0; c < columns; c += side)
        for (int64_t r = 0; r < rows; r += side) {
            const int64_t right = c + side < columns ? c + side : columns, low = r + side < rows ? r + side : rows;
            int64_t j = c;
            for (; j + 8 <= right; j += 8) {
                int64_t i = r;
                for (; i + 8 <= low; i += 8) turn(x + i * columns + j, columns, out + j * rows + i, rows);
                for (; i < low; ++i)
                    for (int64_t k = 0; k < 8; ++k) out[(j + k) * rows + i] = x[i * columns + j + k];
            }
            for (; j < right; ++j)
                for (int64_t i = r; i < low; ++i) out[j * rows + i] = x[i * columns + j];
        }
}

inline float sigmoid(float x) {
    const float falling = falling_exp(x < 0.0f ? x : -x);
    return (x < 0.0f ? falling : 1.0f) / (1.0f + falling);
}

// silu(gate) * up, and its gradients.
template <class T>
void gated(const T* gate, const T* up, T* out, int64_t count) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; ++i) store(out + i, wide(gate[i]) * sigmoid(wide(gate[i])) * wide(up[i]));
}

template <class T>
void gated_backward(const T* grad, const T* gate, const T* up, T* grad_gate, T* grad_up, int64_t count) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; ++i) {
        const float x = wide(gate[i]), above = wide(grad[i]), share = sigmoid(x);
        store(grad_up + i, above * x * share);
        store(grad_gate + i, above * wide(up[i]) * share * (1.0f + x * (1.0f - share)));
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

// out[h] = sum over t of weights[h][t] * row t, for `group` rows of weights at once; GROUP 0: any number.
template <int DIM, int GROUP, class T>
void mix(const float* weights, int64_t pitch, const T* values, int64_t stride, int64_t tokens, int64_t dim,
         int64_t group, float* out) {
    if constexpr (DIM != 0 && DIM % (ABREAST * LANES) == 0 && GROUP != 0) {
        for (int64_t c = 0; c < DIM; c += ABREAST * LANES) {
            Lanes sums[GROUP][ABREAST] = {};
            for (int64_t t = 0; t < tokens; ++t)
                for (int w = 0; w < ABREAST; ++w) {
                    const Lanes value = read(values + t * stride + c + w * LANES);
                    for (int h = 0; h < GROUP; ++h) sums[h][w] += weights[h * pitch + t] * value;
                }
            for (int h = 0; h < GROUP; ++h)
                for (int w = 0; w < ABREAST; ++w) write(out + h * DIM + c + w * LANES, sums[h][w]);
        }
    } else {
        const int64_t d = DIM ? DIM : dim;
        for (int64_t i = 0; i < d * group; ++i) out[i] = 0.0f;
        for (int64_t t = 0; t < tokens; ++t)
            for (int64_t h = 0; h < group; ++h)
#pragma omp simd
                for (int64_t i = 0; i < d; ++i) out[h * d + i] += weights[h * pitch + t] * wide(values[t * stride + i]);
    }
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

// --- attention along prefix trees ----------------------------------------------------------------------------------

// Trees side by side: tree t has the nodes from starts[t] to starts[t + 1], in depth-first order; node j is an ancestor
// of node i of its tree, or i itself, when j <= i < ends[j].
struct Trees {
    const int64_t *starts, *ends;
    int64_t count, heads, kv_heads, dim;
};

const int64_t TILE = 64;

// Columns of one head as tiles [dim][TILE] of floats, so that a dot product with many of them runs along memory.
template <class T>
void tile(const T* x, int64_t stride, int64_t count, int64_t dim, float* out) {
    for (int64_t t = 0; t < count; t += TILE)
        for (int64_t i = 0; i < dim; ++i)
            for (int64_t k = 0; k < TILE; ++k)
                out[t * dim + i * TILE + k] = t + k < count ? wide(x[(t + k) * stride + i]) : 0.0f;
}

template <class T>
void widen(const T* x, int64_t stride, int64_t count, int64_t dim, float* out) {
    for (int64_t t = 0; t < count; ++t)
        for (int64_t i = 0; i < dim; ++i) out[t * dim + i] = wide(x[t * stride + i]);
}

// out[h][t] = q[h] . column t, for every column of the tiles up to `count`, and some beyond it. ROWS queries at once.
template <int DIM, int ROWS>
void dots(const float* q, const float* tiles, int64_t count, int64_t dim, int64_t rows, float* out, int64_t pitch) {
    const int64_t d = DIM ? DIM : dim;
    const int MANY = ROWS ? ROWS : 1;
    for (int64_t t = 0; t < count; t += TILE)
        for (int64_t c = 0; c < TILE && t + c < count; c += ABREAST * LANES)
            for (int64_t first = 0; first < rows; first += MANY) {
                Lanes sums[MANY][ABREAST] = {};
                for (int64_t i = 0; i < d; ++i)
                    for (int w = 0; w < ABREAST; ++w) {
                        const Lanes column = read(tiles + t * d + i * TILE + c + w * LANES);
                        for (int h = 0; h < MANY; ++h) sums[h][w] += q[(first + h) * d + i] * column;
                    }
                for (int h = 0; h < MANY; ++h)
                    for (int w = 0; w < ABREAST; ++w) write(out + (first + h) * pitch + t + c + w * LANES, sums[h][w]);
            }
}

// to[j] += sum over r of weights[r][j] * x[r], for the `count` rows of `to`.
template <int DIM>
void spread(const float* weights, int64_t pitch, const float* x, int64_t rows, int64_t count, int64_t dim, float* to) {
    int64_t j = 0;
    if constexpr (DIM != 0 && DIM % (ABREAST * LANES) == 0) {
        const int MANY = LANES == 16 ? 4 : 3;
        for (; j + MANY <= count; j += MANY)
            for (int64_t c = 0; c < DIM; c += ABREAST * LANES) {
                Lanes sums[MANY][ABREAST];
                for (int m = 0; m < MANY; ++m)
                    for (int w = 0; w < ABREAST; ++w) sums[m][w] = read(to + (j + m) * DIM + c + w * LANES);
                for (int64_t r = 0; r < rows; ++r)
                    for (int w = 0; w < ABREAST; ++w) {
                        const Lanes row = read(x + r * DIM + c + w * LANES);
                        for (int m = 0; m < MANY; ++m) sums[m][w] += weights[r * pitch + j + m] * row;
                    }
                for (int m = 0; m < MANY; ++m)
                    for (int w = 0; w < ABREAST; ++w) write(to + (j + m) * DIM + c + w * LANES, sums[m][w]);
            }
    }
    const int64_t d = DIM ? DIM : dim;
    for (; j < count; ++j)
        for (int64_t r = 0; r < rows; ++r)
#pragma omp simd
            for (int64_t c = 0; c < d; ++c) to[j * d + c] += weights[r * pitch + j] * x[r * d + c];
}

template <int DIM, int GROUP, class T>
void tree_forward(const T* q, const T* k, const T* v, const Trees& s, T* out, float* norms) {
    const int64_t group = s.heads / s.kv_heads, dim = s.dim, across = s.heads * dim, stride = s.kv_heads * dim;
    const int64_t block = 256;  // nodes of one task: a single long tree still keeps every thread busy
    std::vector<int64_t> tasks;
    int64_t widest = 0;
    for (int64_t t = 0; t < s.count; ++t) {
        widest = s.starts[t + 1] - s.starts[t] > widest ? s.starts[t + 1] - s.starts[t] : widest;
        for (int64_t i = s.starts[t]; i < s.starts[t + 1]; i += block)
            for (int64_t h = 0; h < s.kv_heads; ++h) tasks.insert(tasks.end(), {t, i, h});
    }
    const int64_t room = (widest + TILE - 1) / TILE * TILE;
    const float scale = 1.0f / std::sqrt(float(dim));
#pragma omp parallel
    {
        std::vector<float> keys(size_t(room * dim)), values(size_t(room * dim)), query(size_t(group * dim));
        std::vector<float> scores(size_t(group * room)), mixed(size_t(group * dim));
#pragma omp for schedule(dynamic, 1)
        for (int64_t task = 0; task < int64_t(tasks.size()) / 3; ++task) {
            const int64_t *one = tasks.data() + 3 * task, t = one[0], first = one[1], h = one[2], end = s.starts[t + 1];
            const int64_t start = s.starts[t], stop = first + block < end ? first + block : end;
            tile(k + start * stride + h * dim, stride, stop - start, dim, keys.data());
            widen(v + start * stride + h * dim, stride, stop - start, dim, values.data());
            for (int64_t i = first; i < stop; ++i) {
                const int64_t seen = i - start + 1, at = i * across + h * group * dim;
                for (int64_t c = 0; c < group * dim; ++c) query[size_t(c)] = wide(q[at + c]) * scale;
                dots<DIM, GROUP>(query.data(), keys.data(), seen, dim, group, scores.data(), room);
                for (int64_t g = 0; g < group; ++g) {
                    float *row = scores.data() + g * room, top = -INFINITY, total = 0.0f;
#pragma omp simd reduction(max : top)
                    for (int64_t j = 0; j < seen; ++j) {
                        row[j] = i < s.ends[start + j] ? row[j] : -INFINITY;
                        top = row[j] > top ? row[j] : top;
                    }
#pragma omp simd reduction(+ : total)
                    for (int64_t j = 0; j < seen; ++j) {
                        row[j] = falling_exp(row[j] - top);
                        total += row[j];
                    }
                    const float share = 1.0f / total;
#pragma omp simd
                    for (int64_t j = 0; j < seen; ++j) row[j] *= share;
                    norms[i * s.heads + h * group + g] = top + std::log(total);
                }
                mix<DIM, GROUP>(scores.data(), room, values.data(), dim, seen, dim, group, mixed.data());
                for (int64_t c = 0; c < group * dim; ++c) store(out + at + c, mixed[size_t(c)]);
            }
        }
    }
}

// Gradients by q, k and v of what tree_forward gave; the probabilities are made again from `norms`, the logarithms of
// their sums.
template <int DIM, int GROUP, class T>
void tree_backward(const T* grad, const T* q, const T* k, const T* v, const T* out, const float* norms, const Trees& s,
                   T* grad_q, T* grad_k, T* grad_v) {
    const int64_t group = s.heads / s.kv_heads, dim = s.dim, across = s.heads * dim, stride = s.kv_heads * dim;
    const int64_t at_once = 4, rows = at_once * group;
    int64_t widest = 0;
    for (int64_t t = 0; t < s.count; ++t)
        widest = s.starts[t + 1] - s.starts[t] > widest ? s.starts[t + 1] - s.starts[t] : widest;
    const int64_t room = (widest + TILE - 1) / TILE * TILE;
    const float scale = 1.0f / std::sqrt(float(dim));
#pragma omp parallel
    {
        const size_t whole = size_t(room * dim);
        std::vector<float> keys(whole), key_tiles(whole), value_tiles(whole), for_keys(whole), for_values(whole);
        std::vector<float> queries(size_t(rows * dim)), above(size_t(rows * dim)), mixed(size_t(group * dim));
        std::vector<float> shares(size_t(rows * room)), slopes(size_t(rows * room));
#pragma omp for schedule(dynamic, 1)
        for (int64_t task = 0; task < s.count * s.kv_heads; ++task) {
            const int64_t t = task / s.kv_heads, h = task % s.kv_heads, start = s.starts[t], stop = s.starts[t + 1];
            widen(k + start * stride + h * dim, stride, stop - start, dim, keys.data());
            tile(k + start * stride + h * dim, stride, stop - start, dim, key_tiles.data());
            tile(v + start * stride + h * dim, stride, stop - start, dim, value_tiles.data());
            std::fill(for_keys.begin(), for_keys.end(), 0.0f);
            std::fill(for_values.begin(), for_values.end(), 0.0f);
            for (int64_t first = start; first < stop; first += at_once) {
                const int64_t last = first + at_once < stop ? first + at_once : stop, far = last - start;
                for (int64_t i = first; i < last; ++i) {
                    const int64_t seen = i - start + 1, at = i * across + h * group * dim, row = (i - first) * group;
                    float *query = queries.data() + row * dim, *over = above.data() + row * dim;
                    float *share = shares.data() + row * room, *slope = slopes.data() + row * room;
                    for (int64_t c = 0; c < group * dim; ++c) {
                        query[c] = wide(q[at + c]) * scale;
                        over[c] = wide(grad[at + c]);
                    }
                    dots<DIM, GROUP>(query, key_tiles.data(), seen, dim, group, share, room);
                    dots<DIM, GROUP>(over, value_tiles.data(), seen, dim, group, slope, room);
                    for (int64_t g = 0; g < group; ++g) {
                        float along = 0.0f;
                        const float norm = norms[i * s.heads + h * group + g];
#pragma omp simd reduction(+ : along)
                        for (int64_t c = 0; c < dim; ++c) along += over[g * dim + c] * wide(out[at + g * dim + c]);
#pragma omp simd
                        for (int64_t j = 0; j < seen; ++j) {
                            const float p = falling_exp(share[g * room + j] - norm);
                            share[g * room + j] = i < s.ends[start + j] ? p : 0.0f;
                            slope[g * room + j] = i < s.ends[start + j] ? p * (slope[g * room + j] - along) : 0.0f;
                        }
                        for (int64_t j = seen; j < far; ++j) share[g * room + j] = slope[g * room + j] = 0.0f;
                    }
                    mix<DIM, GROUP>(slope, room, keys.data(), dim, seen, dim, group, mixed.data());
                    for (int64_t c = 0; c < group * dim; ++c) store(grad_q + at + c, mixed[size_t(c)] * scale);
                }
                const int64_t used = (last - first) * group;
                spread<DIM>(slopes.data(), room, queries.data(), used, far, dim, for_keys.data());
                spread<DIM>(shares.data(), room, above.data(), used, far, dim, for_values.data());
            }
            for (int64_t j = start; j < stop; ++j)
                for (int64_t c = 0; c < dim; ++c) {
                    store(grad_k + j * stride + h * dim + c, for_keys[size_t((j - start) * dim + c)]);
                    store(grad_v + j * stride + h * dim + c, for_values[size_t((j - start) * dim + c)]);
                }
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
    void scaled_norm_##NAME(const void* x, const void* gain, void* out, int64_t count, int64_t width, float eps) {    \
        scaled_norm(static_cast<const T*>(x), static_cast<const T*>(gain), static_cast<T*>(out), count, width, eps);  \
    }                                                                                                                 \
    void scaled_norm_backward_##NAME(const void* grad, const void* x, const void* gain, void* grad_x,                 \
                                     float* grad_gain, int64_t count, int64_t width, float eps) {                     \
        scaled_norm_backward(static_cast<const T*>(grad), static_cast<const T*>(x), static_cast<const T*>(gain),      \
                             static_cast<T*>(grad_x), grad_gain, count, width, eps);                                  \
    }                                                                                                                 \
    void transpose_##NAME(const void* x, void* out, int64_t rows, int64_t columns) {                                  \
        transpose(static_cast<const T*>(x), static_cast<T*>(out), rows, columns);                                     \
    }                                                                                                                 \
    void gated_##NAME(const void* gate, const void* up, void* out, int64_t count) {                                   \
        gated(static_cast<const T*>(gate), static_cast<const T*>(up), static_cast<T*>(out), count);                   \
    }                                                                                                                 \
    void gated_backward_##NAME(const void* grad, const void* gate, const void* up, void* grad_gate, void* grad_up,    \
                               int64_t count) {                                                                       \
        gated_backward(static_cast<const T*>(grad), static_cast<const T*>(gate), static_cast<const T*>(up),           \
                       static_cast<T*>(grad_gate), static_cast<T*>(grad_up), count);                                  \
    }                                                                                                                 \
    void attend_##NAME(const void* qkv, const void* cos, const void* sin, void* keys, void* values,                   \
                       const int64_t* rows, const int64_t* positions, int64_t count, int64_t heads, int64_t kv_heads, \
                       int64_t dim, int64_t width, void* out) {                                                       \
        attend(static_cast<const T*>(qkv), static_cast<const T*>(cos), static_cast<const T*>(sin),                    \
               static_cast<T*>(keys), static_cast<T*>(values), rows, positions, count,                                \
               Shape{heads, kv_heads, dim, width}, static_cast<T*>(out));                                             \
    }                                                                                                                 \
    void tree_forward_##NAME(const void* q, const void* k, const void* v, const int64_t* starts, const int64_t* ends, \
                             int64_t trees, int64_t heads, int64_t kv_heads, int64_t dim, void* out, float* norms) {  \
        const Trees s{starts, ends, trees, heads, kv_heads, dim};                                                     \
        auto run = dim == 64 && heads == 3 * kv_heads ? tree_forward<64, 3, T>                                        \
                   : dim == 64                        ? tree_forward<64, 0, T>                                        \
                                                      : tree_forward<0, 0, T>;                                        \
        run(static_cast<const T*>(q), static_cast<const T*>(k), static_cast<const T*>(v), s, static_cast<T*>(out),    \
            norms);                                                                                                   \
    }                                                                                                                 \
    void tree_backward_##NAME(const void* grad, const void* q, const void* k, const void* v, const void* out,         \
                              const float* norms, const int64_t* starts, const int64_t* ends, int64_t trees,          \
                              int64_t heads, int64_t kv_heads, int64_t dim, void* grad_q, void* grad_k,               \
                              void* grad_v) {                                                                         \
        const Trees s{starts, ends, trees, heads, kv_heads, dim};                                                     \
        auto run = dim == 64 && heads == 3 * kv_heads ? tree_backward<64, 3, T>                                       \
                   : dim == 64                        ? tree_backward<64, 0, T>                                       \
                                                      : tree_backward<0, 0, T>;                                       \
        run(static_cast<const T*>(grad), static_cast<const T*>(q), static_cast<const T*>(k),                          \
            static_cast<const T*>(v), static_cast<const T*>(out), norms, s, static_cast<T*>(grad_q),                  \
            static_cast<T*>(grad_k), static_cast<T*>(grad_v));                                                        \
    }                                                                                                                 \
    void sample_##NAME(const void* logits, const float* temperatures, const float* uniform, int64_t count,            \
                       int64_t vocabulary, int64_t* tokens, float* logprobs) {                                        \
        sample(static_cast<const T*>(logits), temperatures, uniform, count, vocabulary, tokens, logprobs);            \
    }
QANAT_KERNELS(bfloat16, Half)
QANAT_KERNELS(float32, float)
}
