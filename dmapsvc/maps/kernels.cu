// The passes of the cuda backend: D of every voxel, the distance to the nearest voxel of another region, for
// all regions at once; then phi. How they are launched, and where their memory lies, is decided in
// cuda_backend.py.
//
// Squared distances grow an axis at a time: along x from the labels alone (`edges`, `rows`), then along y
// (`planes`) and z (`columns`), where each voxel takes the least of height + weight * distance^2 over the
// sites of its line. The sites of a voxel are the voxels of its own run, at the height that the axes before
// gave them, and the two voxels beyond the run's ends, which are of another region and have height 0. What
// lies further out cannot be nearer. There is one addition a candidate and nothing is subtracted, so float32
// loses no digits.
//
// Volumes are (z, y, x) in C order; offsets of voxels are 64-bit, those along an axis 32-bit. The source uses
// no header, no barrier and no warp operation: it compiles under NVRTC, nvcc and, behind a shim, for the
// host.

#if REGION_BITS == 16
typedef unsigned short region;
#else
typedef unsigned char region;
#endif

typedef unsigned int word;

#define WORD_BITS 32
#define LANES 32      // neighbours along x that a warp works on
#define SEGMENT 16    // voxels of a line that a thread works on
#define FAR 3.4e38f   // a squared distance larger than any: no other region was seen yet
#define UNSEEN 65535  // the same in steps along x

// ---- along x ----------------------------------------------------------------------------------------------

// Bit i of a word of `words` says that voxel 32*w + i of the row is of another region than the one before it.
// One thread a word.
extern "C" __global__ void edges(
    const region* labels, const region* table, word* words, int width, word row_words, word all_words)
{
    const word index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= all_words) return;
    const word row = index / row_words;
    const int first = (index - row * row_words) * WORD_BITS;
    const int stop = min(first + WORD_BITS, width);
    const region* line = labels + (long long)row * width;
    region before = table[line[max(first - 1, 0)]];
    word bits = 0;
    for (int x = first; x < stop; ++x) {
        const region own = table[line[x]];
        bits |= (word)(own != before) << (x - first);
        before = own;
    }
    words[index] = bits;
}

// Steps from voxel x to the nearest voxel of another region on its row, UNSEEN if there is none.
__device__ int steps_along(const word* words, int row_words, int x)
{
    const int own = x / WORD_BITS;
    const int bit = x % WORD_BITS;
    int nearest = UNSEEN;
    word bits = words[own] << (WORD_BITS - 1 - bit);  // edges at x and before
    for (int w = own;;) {
        if (bits) {
            const int edge = (w == own ? bit : WORD_BITS - 1) - __clz(bits) + w * WORD_BITS;
            nearest = x - edge + 1;
            break;
        }
        if (--w < 0) break;
        bits = words[w];
    }
    bits = bit == WORD_BITS - 1 ? 0 : words[own] >> (bit + 1) << (bit + 1);  // edges after x
    for (int w = own;;) {
        if (bits) return min(nearest, w * WORD_BITS + __ffs(bits) - 1 - x);
        if (++w >= row_words || w * WORD_BITS - x >= nearest) return nearest;
        bits = words[w];
    }
}

// Steps along x of every voxel, and region indices in the place of labels. One thread a voxel, rows filled up
// to whole words.
extern "C" __global__ void rows(
    region* labels, const region* table, const word* words, unsigned short* steps, int width, word row_words,
    word all_words)
{
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const word index = thread / WORD_BITS;
    if (index >= all_words) return;
    const word row = index / row_words;
    const int x = (index - row * row_words) * WORD_BITS + thread % WORD_BITS;
    if (x >= width) return;
    const long long voxel = (long long)row * width + x;
    labels[voxel] = table[labels[voxel]];
    steps[voxel] = steps_along(words + (long long)row * row_words, row_words, x);
}

// ---- along y and z ----------------------------------------------------------------------------------------

// A line of voxels, `stride` apart, and the heights of its sites.
template <typename Heights>
struct Line {
    const region* regions;
    Heights heights;
    long long start;
    long long stride;
    int size;
    float weight;  // the square of a step along the line

    __device__ long long voxel(int place) const { return start + place * stride; }
};

// The heights of `planes`: squared distances along x.
struct Steps {
    const unsigned short* steps;
    float weight;

    __device__ float at(long long voxel) const
    {
        const int count = steps[voxel];
        return count == UNSEEN ? FAR : (float)count * count * weight;
    }
};

// The heights of `columns`: squared distances within a plane.
struct Squares {
    const float* squares;

    __device__ float at(long long voxel) const { return squares[voxel]; }
};

// The best site of a voxel so far, and the squared distance to it.
struct Site {
    int place;
    float height;
    float square;
};

// Let `best` be a site of the voxel at `place` if it is nearer.
__device__ void consider(Site& best, int place, float height, float reach)
{
    const float square = reach + height;
    if (square < best.square) {
        best.place = place;
        best.height = height;
        best.square = square;
    }
}

// Let `voxel`, at `place` of its line, be a site of `best`, the best of a voxel of region `own`; whether it is
// of another region.
template <typename Heights>
__device__ bool look(
    const Line<Heights>& line, int place, long long voxel, region own, float reach, Site& best)
{
    const float height = line.heights.at(voxel);  // not after the region is known: one wait, not two
    const bool other = line.regions[voxel] != own;
    consider(best, place, other ? 0.0f : height, reach);
    return other;
}

// The nearest site of the voxel at `place`, of region `own`: outwards from it, until what is left to see lies
// further off than `best`, what is known already. No site before `least` is looked at.
template <typename Heights>
__device__ Site nearest_site(const Line<Heights>& line, int place, region own, int least, Site best)
{
    long long behind = line.voxel(place), ahead = behind;
    int before = place - least, after = line.size - 1 - place;  // steps that may be taken to either side
    consider(best, place, line.heights.at(behind), 0.0f);
    float steps = 1.0f;
    for (int away = 1; away <= before || away <= after; ++away, steps += 1.0f) {
        const float reach = steps * steps * line.weight;
        if (reach >= best.square) break;
        behind -= line.stride;
        ahead += line.stride;
        if (away <= before && look(line, place - away, behind, own, reach, best)) before = 0;
        if (away <= after && look(line, place + away, ahead, own, reach, best)) after = 0;
    }
    return best;
}

// The same site, as the voxel at `place` sees it.
template <typename Heights>
__device__ Site seen_from(const Line<Heights>& line, int place, Site site)
{
    const float steps = place - site.place;
    site.square = site.height + steps * steps * line.weight;
    return site;
}

// The nearest site of the voxel at `place` among `low`, `high` and those between them, all of its own run.
template <typename Heights>
__device__ Site nearest_between(const Line<Heights>& line, int place, Site low, Site high)
{
    Site best = seen_from(line, place, low);
    long long voxel = line.voxel(low.place);
    float steps = place - low.place;
    for (int site = low.place + 1; site < high.place; ++site) {
        voxel += line.stride;
        steps -= 1.0f;
        consider(best, site, line.heights.at(voxel), steps * steps * line.weight);
    }
    const Site last = seen_from(line, place, high);
    return last.square < best.square ? last : best;
}

// Squared distances of the voxels begin ... end - 1, neighbours of region `own`, to `sink`. The nearest site
// never moves back as a voxel moves on within its run: so only the first voxel and the last one search, and
// those between them choose among the sites between theirs.
template <typename Heights, typename Sink>
__device__ void sweep_piece(const Line<Heights>& line, region own, int begin, int end, Sink& sink)
{
    Site low = nearest_site(line, begin, own, 0, Site{begin, FAR, FAR});
    sink.put(line.voxel(begin), low.square);
    if (end - begin == 1) return;
    if (low.square == FAR) {  // no voxel of the run has a site
        for (int place = begin + 1; place < end; ++place) sink.put(line.voxel(place), FAR);
        return;
    }
    const Site high = nearest_site(line, end - 1, own, low.place, seen_from(line, end - 1, low));
    for (int place = begin + 1; place < end - 1; ++place) {
        low = nearest_between(line, place, low, high);
        sink.put(line.voxel(place), low.square);
    }
    sink.put(line.voxel(end - 1), high.square);
}

// The same for the voxels first ... stop - 1, at most SEGMENT, of any regions.
template <typename Heights, typename Sink>
__device__ void sweep(const Line<Heights>& line, int first, int stop, Sink& sink)
{
    word ends = 1u << (stop - 1 - first);  // bit i: a piece ends with the voxel first + i
    long long voxel = line.voxel(first);
#pragma unroll
    for (int i = 0; i < SEGMENT - 1; ++i) {
        if (first + i + 1 < stop) {
            ends |= (word)(line.regions[voxel] != line.regions[voxel + line.stride]) << i;
            voxel += line.stride;
        }
    }
    for (int begin = first; begin < stop;) {
        const int end = begin + __ffs(ends >> (begin - first));
        const region own = line.regions[line.voxel(begin)];
        sweep_piece(line, own, begin, end, sink);
        sink.close(own);
        begin = end;
    }
}

// What a thread of `planes` or `columns` works on: voxels of the line at `x` of the lines side by side in row
// or plane `outer`. Neighbours in a warp are neighbours along x; the segments of the same lines follow one
// another.
struct Place {
    int x;
    int first;
    int stop;
    word outer;
};

__device__ Place place_of_thread(int width, int size)
{
    const word segments = (size + SEGMENT - 1) / SEGMENT;
    const word groups = (segments + blockDim.y - 1) / blockDim.y;
    const word tiles = (width + LANES - 1) / LANES;
    const word tile = blockIdx.x / groups;
    Place place;
    place.outer = tile / tiles;
    place.x = (tile - place.outer * tiles) * LANES + threadIdx.x;
    place.first = ((blockIdx.x - tile * groups) * blockDim.y + threadIdx.y) * SEGMENT;
    place.stop = min(place.first + SEGMENT, size);
    return place;
}

// Squared distances, to memory.
struct Planes {
    float* squares;

    __device__ void put(long long voxel, float square) { squares[voxel] = square; }
    __device__ void close(region) {}
};

// Squared distances within the planes z, from steps along x. Blocks of LANES by any number of threads, each
// thread a segment along y.
extern "C" __global__ void planes(
    const region* regions, const unsigned short* steps, float* squares, int height, int width, float weight_y,
    float weight_x)
{
    const Place place = place_of_thread(width, height);
    if (place.x >= width || place.first >= height) return;
    const long long start = (long long)place.outer * height * width + place.x;
    const Line<Steps> line = {regions, {steps, weight_x}, start, width, height, weight_y};
    Planes sink = {squares};
    sweep(line, place.first, place.stop, sink);
}

// Distances, to memory, and their maximum and sum by region.
struct Columns {
    float* distances;
    word* maxima;  // bits of a float that is not negative: they order as the float does
    double* sums;
    float largest;
    double total;

    __device__ void put(long long voxel, float square)
    {
        const float distance = sqrtf(square);
        distances[voxel] = distance;
        largest = fmaxf(largest, distance);
        total += distance;
    }

    __device__ void close(region own)
    {
        const word bits = __float_as_uint(largest);
        if (bits > maxima[own]) atomicMax(maxima + own, bits);
        atomicAdd(sums + own, total);
        largest = 0.0f;
        total = 0.0;
    }
};

// Distances from squared distances within the planes, and their summary. `maxima` and `sums` have `slots`
// rows of one entry a region; blocks take turns with them, so that few wait for one another. Blocks as in
// `planes`, segments along z.
extern "C" __global__ void columns(
    const region* regions, const float* squares, float* distances, word* maxima, double* sums, int depth,
    int height, int width, float weight, int slots, int region_count)
{
    // the lines side by side are those of a row, and the rows of a plane are `outer`
    const Place place = place_of_thread(width, depth);
    if (place.x >= width || place.first >= depth) return;
    const long long start = (long long)place.outer * width + place.x;
    const Line<Squares> line = {regions, {squares}, start, (long long)height * width, depth, weight};
    const long long slot = (long long)(blockIdx.x % slots) * region_count;
    Columns sink = {distances, maxima + slot, sums + slot, 0.0f, 0.0};
    sweep(line, place.first, place.stop, sink);
}

// ---- phi --------------------------------------------------------------------------------------------------

// phi = M - D, in place of D. One thread a voxel.
extern "C" __global__ void invert(
    const region* regions, float* distances, const float* maxima, long long voxels)
{
    const long long voxel = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (voxel < voxels) distances[voxel] = maxima[regions[voxel]] - distances[voxel];
}

// phi as it is stored, (phi - offset) / step to the nearest. One thread a voxel.
extern "C" __global__ void quantise(
    const region* regions, const float* distances, const float* maxima, unsigned short* stored,
    long long voxels, float offset, float step)
{
    const long long voxel = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (voxel >= voxels) return;
    const float phi = maxima[regions[voxel]] - distances[voxel];
    stored[voxel] = rintf((phi - offset) / step);
}
