// What CUDA gives a kernel, for a kernel that is compiled for the host: the indices of its thread, the few
// functions that our kernels call, and a launch that runs one thread after another, first to last or last to
// first. There are no barriers and no warps: a kernel that needs them does not compile.
#define __global__
#define __device__

struct Dim {
    unsigned x, y, z;
};

static thread_local Dim gridDim, blockDim, blockIdx, threadIdx;

static inline int min(int a, int b) { return b < a ? b : a; }
static inline int max(int a, int b) { return a < b ? b : a; }
static inline float fmaxf(float a, float b) { return __builtin_fmaxf(a, b); }
static inline float rintf(float value) { return __builtin_rintf(value); }
static inline float sqrtf(float value) { return __builtin_sqrtf(value); }
static inline int __clz(int bits) { return bits ? __builtin_clz(bits) : 32; }
static inline int __ffs(int bits) { return __builtin_ffs(bits); }
static inline unsigned __float_as_uint(float value) { return __builtin_bit_cast(unsigned, value); }

static inline double atomicAdd(double* place, double value)
{
    const int order = __ATOMIC_RELAXED;
    double before = *place, after = before + value;
    while (!__atomic_compare_exchange(place, &before, &after, true, order, order)) after = before + value;
    return before;
}

static inline unsigned atomicMax(unsigned* place, unsigned value)
{
    const int order = __ATOMIC_RELAXED;
    unsigned before = *place;
    while (before < value && !__atomic_compare_exchange_n(place, &before, value, true, order, order)) {
    }
    return before;
}

template <int... Numbers>
struct Indices {};

template <int count, int... Numbers>
struct IndicesTo : IndicesTo<count - 1, count - 1, Numbers...> {};

template <int... Numbers>
struct IndicesTo<0, Numbers...> {
    typedef Indices<Numbers...> type;
};

template <typename... Parameters, int... Numbers>
static void call(void (*kernel)(Parameters...), void** arguments, Indices<Numbers...>)
{
    kernel(*(Parameters*)arguments[Numbers]...);
}

static Dim dim_at(unsigned long long index, Dim dims)
{
    return {unsigned(index % dims.x), unsigned(index / dims.x % dims.y), unsigned(index / dims.x / dims.y)};
}

// `arguments` are pointers to the values, as for cuLaunchKernel.
template <typename... Parameters>
static void launch(void (*kernel)(Parameters...), const unsigned* dims, void** arguments, bool backwards)
{
    gridDim = {dims[0], dims[1], dims[2]};
    blockDim = {dims[3], dims[4], dims[5]};
    const unsigned long long blocks = 1ull * dims[0] * dims[1] * dims[2];
    const unsigned long long threads = 1ull * dims[3] * dims[4] * dims[5];
    for (unsigned long long block = 0; block < blocks; ++block) {
        blockIdx = dim_at(backwards ? blocks - 1 - block : block, gridDim);
        for (unsigned long long thread = 0; thread < threads; ++thread) {
            threadIdx = dim_at(backwards ? threads - 1 - thread : thread, blockDim);
            call(kernel, arguments, typename IndicesTo<sizeof...(Parameters)>::type());
        }
    }
}

// Bytes of each parameter, so that a launch with others is found out; returns how many there are.
template <typename... Parameters>
static int parameter_sizes(void (*)(Parameters...), int* out)
{
    const int sizes[] = {int(sizeof(Parameters))...};
    for (unsigned i = 0; i < sizeof...(Parameters); ++i) out[i] = sizes[i];
    return sizeof...(Parameters);
}

#define LAUNCHER(name)                                                                                      \
    extern "C" void launch_##name(const unsigned* dims, void** arguments, bool backwards)                   \
    {                                                                                                       \
        launch(name, dims, arguments, backwards);                                                           \
    }                                                                                                       \
    extern "C" int sizes_##name(int* out) { return parameter_sizes(name, out); }
