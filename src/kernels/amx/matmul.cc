// x * w^T on the matrix unit. Weights of every format are tiles of bf16 pairs: bf16 panels as they lie, others unpacked panel by panel
// into scratch that stays in the second-level cache and serves all rows. Results stay in tiles over a stretch of inputs and in `out`
// between stretches, which changes no bit. An output starts from zero, its bias or (when adding) what is there.
// A step of 32 inputs (TDPBF16PS), per row of A on its own: out += (sum of products of even inputs) + (sum of products of odd inputs), each
// sum a chain of 16 fused steps from zero, ascending; subnormals count as zero throughout. So a row's bits do not depend on its tile.
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, TDPBF16PS.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/amx/amx.h"
#include "kernels/amx/tiles.h"
#include "kernels/any/packed.h"

namespace sgl::KERNEL_ISA {
namespace {

constexpr int kRowBlock = 2 * kTileMaxRows;
constexpr int kTileBytes = kTileMaxRows * kTileMaxBytes;
constexpr int64_t kManyTiles = 64;  // inputs in tiles of 32 whose unpacked panels (128 KiB a pair) serve all rows before the next ones
constexpr int64_t kFewTiles = 2;    // for at most 32 rows: unpacked and used at once, in the first-level cache
constexpr int64_t kAheadTiles = 4;  // fetched ahead in a panel that is tiles
constexpr int64_t kAhead = kAheadTiles * kTileBytes;
constexpr int64_t kVectorInputs = 16384;  // floats of x that a product without tiles holds
constexpr int kGatedRows = 256;           // rows whose results a gated product keeps between stretches

// Tiles for up to 32 rows, 1 at least. 0-3: results, 0 and 1 of the first 16 rows, 2 and 3 of the rest; 4, 5: activations; 6, 7: weights.
// Up to 16 rows of bf16 weights: 0-3 are results of four panels, 4 activations, 5-7 weights. Zeroes all tiles.
void ConfigureTiles(int rows) {
  const int first = rows < kTileMaxRows ? rows : kTileMaxRows, second = rows - first;
  TileConfig config = FullTiles();
  for (const int tile : {0, 1, 4}) config.Shape(tile, first, kTileMaxBytes);
  for (const int tile : {2, 3}) config.Shape(tile, second > 0 ? second : first, kTileMaxBytes);
  if (second > 0) config.Shape(5, second, kTileMaxBytes);
  Visible(config);
  _tile_loadconfig(&config);
}

SIMD_FN void LoadResult(int tile, const void* from, int64_t stride) {
  const auto s = static_cast<size_t>(stride);
  switch (tile) {
    case 0: _tile_loadd(0, from, s); break;
    case 1: _tile_loadd(1, from, s); break;
    case 2: _tile_loadd(2, from, s); break;
    default: _tile_loadd(3, from, s);
  }
}
SIMD_FN void ZeroResult(int tile) {
  switch (tile) {
    case 0: _tile_zero(0); break;
    case 1: _tile_zero(1); break;
    case 2: _tile_zero(2); break;
    default: _tile_zero(3);
  }
}
SIMD_FN void StoreResult(int tile, void* to, int64_t stride) {
  const auto s = static_cast<size_t>(stride);
  switch (tile) {
    case 0: _tile_stored(0, to, s); break;
    case 1: _tile_stored(1, to, s); break;
    case 2: _tile_stored(2, to, s); break;
    default: _tile_stored(3, to, s);
  }
}

// Where the results of a product start and where they go.
struct Target {
  const float* bias;  // of all columns, or null
  bool add;
  Mat<float> out;
  int64_t n;
  int Columns(int64_t panel) const { return static_cast<int>(n - panel * kPanel < kPanel ? n - panel * kPanel : kPanel); }
};

// What row `row` of a panel starts from; with going_on, what an earlier stretch left in out.
SIMD_FN F32x16 StartOfRow(const Target& t, int64_t panel, int64_t row, bool going_on) {
  const int64_t column = panel * kPanel;
  const int columns = t.Columns(panel);
  const F32x16 value = t.add || going_on ? LoadN(t.out.row(row) + column, columns) : Zero();
  return going_on || t.bias == nullptr ? value : Add(value, LoadN(t.bias + column, columns));
}

// Fills a result tile of `rows` rows from row `row` on. `going_on`: from what an earlier stretch left in out.
void Start(int tile, const Target& t, int64_t panel, int64_t row, int rows, bool going_on) {
  const int64_t column = panel * kPanel;
  const int columns = t.Columns(panel);
  const bool from_out = t.add || going_on;
  const float* bias = going_on || t.bias == nullptr ? nullptr : t.bias + column;
  if (!from_out && bias == nullptr) return ZeroResult(tile);
  if (columns == kPanel && (bias == nullptr || !from_out)) {
    if (from_out) return LoadResult(tile, t.out.row(row) + column, t.out.stride * static_cast<int64_t>(sizeof(float)));
    return LoadResult(tile, bias, 0);  // every row the same
  }
  alignas(64) float block[kTileMaxRows * kTileMaxRows];
  for (int r = 0; r < rows; ++r) Store(StartOfRow(t, panel, row + r, going_on), block + r * kTileMaxRows);
  Visible(block);
  LoadResult(tile, block, kTileMaxBytes);
}

void Finish(int tile, const Target& t, int64_t panel, int64_t row, int rows) {
  const int64_t column = panel * kPanel;
  const int columns = t.Columns(panel);
  if (columns == kPanel) return StoreResult(tile, t.out.row(row) + column, t.out.stride * static_cast<int64_t>(sizeof(float)));
  alignas(64) float block[kTileMaxRows * kTileMaxRows];
  StoreResult(tile, block, kTileMaxBytes);
  Visible(block);
  for (int r = 0; r < rows; ++r) StoreN(Load(block + r * kTileMaxRows), t.out.row(row + r) + column, columns);
}

template <int kNear = 3>  // 3: into the first-level cache, 2: into the second
SIMD_FN void FetchTile(const uint8_t* from) {
#pragma GCC unroll 16
  for (int i = 0; i < kTileBytes; i += 64) __builtin_prefetch(from + i, 0, kNear);
}

// Signed bytes times unsigned ones, or pairs of bf16. Tile numbers are part of the instruction, so this cannot be a function.
#define SGL_TILE_DOT(c, a, b) \
  if constexpr (kBytes)       \
    _tile_dpbsud(c, a, b);    \
  else                        \
    _tile_dpbf16ps(c, a, b)
#define SGL_TILE_ROWS(tile, a, stride)   \
  if constexpr (kStreamRows)             \
    _tile_stream_loadd(tile, a, stride); \
  else                                   \
    _tile_loadd(tile, a, stride)

// Tiles 0-3 += rows of a times two panels, `tiles` tiles deep. Up to 16 rows use tiles 0 and 1 alone. aside() is called once per step: work
// for the vector units while the matrix unit is busy. kStreamRows: a does not displace the panels in the first-level cache, where every
// block of rows wants them; the second-level cache alone cannot feed the unit.
template <bool kStreamRows, bool kBytes = false, class Aside>
SIMD_FN void Multiply(int rows, const uint8_t* a, int64_t a_stride, const uint8_t* b0, const uint8_t* b1, int64_t tiles, Aside&& aside) {
  const auto stride = static_cast<size_t>(a_stride);
  if (rows <= kTileMaxRows) {
    for (int64_t i = 0; i < tiles; ++i, a += kTileMaxBytes, b0 += kTileBytes, b1 += kTileBytes) {
      aside();
      SGL_TILE_ROWS(4, a, stride);
      _tile_loadd(6, b0, kTileMaxBytes);
      SGL_TILE_DOT(0, 4, 6);
      _tile_loadd(7, b1, kTileMaxBytes);
      SGL_TILE_DOT(1, 4, 7);
    }
    return;
  }
  const uint8_t* a1 = a + kTileMaxRows * a_stride;
  for (int64_t i = 0; i < tiles; ++i, a += kTileMaxBytes, a1 += kTileMaxBytes, b0 += kTileBytes, b1 += kTileBytes) {
    aside();
    SGL_TILE_ROWS(4, a, stride);
    _tile_loadd(6, b0, kTileMaxBytes);
    SGL_TILE_DOT(0, 4, 6);
    _tile_loadd(7, b1, kTileMaxBytes);
    SGL_TILE_DOT(1, 4, 7);
    SGL_TILE_ROWS(5, a1, stride);
    SGL_TILE_DOT(2, 5, 6);
    SGL_TILE_DOT(3, 5, 7);
  }
}
// An aside: fetches two panels that are tiles as they are read; past the end they go on `next` bytes after b0 and b1.
class FetchAhead {
 public:
  FetchAhead(const uint8_t* b0, const uint8_t* b1, int64_t tiles, int64_t next)
      : at_{b0, b1}, left_(tiles), skip_(next - tiles * kTileBytes) {}
  [[gnu::always_inline]] void operator()() {
    for (const uint8_t*& b : at_) {
      FetchTile(b + kAhead + (left_ > kAheadTiles ? 0 : skip_));
      b += kTileBytes;
    }
    --left_;
  }

 private:
  const uint8_t* at_[2];
  int64_t left_, skip_;
};

// At most 16 rows, weights that are tiles: four panels, so that four streams of weights are in flight.
template <bool kBytes>
void FourPanels(const uint8_t* a, int64_t a_stride, const uint8_t* b, int64_t panel_bytes, int64_t tiles) {
  const auto stride = static_cast<size_t>(a_stride);
  for (int64_t i = 0; i < tiles; ++i, a += kTileMaxBytes, b += kTileBytes) {
    // Past the end of these panels come the next four.
    const uint8_t* fetch = b + kAhead + (i + kAheadTiles < tiles ? 0 : 3 * panel_bytes);
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) FetchTile(fetch + p * panel_bytes);
    _tile_loadd(4, a, stride);
    _tile_loadd(5, b, kTileMaxBytes);
    SGL_TILE_DOT(0, 4, 5);
    _tile_loadd(6, b + panel_bytes, kTileMaxBytes);
    SGL_TILE_DOT(1, 4, 6);
    _tile_loadd(7, b + 2 * panel_bytes, kTileMaxBytes);
    SGL_TILE_DOT(2, 4, 7);
    _tile_loadd(5, b + 3 * panel_bytes, kTileMaxBytes);
    SGL_TILE_DOT(3, 4, 5);
  }
}

struct Problem {
  const Activations& x;
  const PackedMat& w;
  const BlockKernels* blocks;  // null: panels are tiles
  int64_t tiles;               // of inputs
  Problem(const Activations& activations, const PackedMat& weights)
      : x(activations), w(weights), blocks(BlockKernelsFor(weights.format)), tiles((weights.k + 31) / 32) {}
  const uint8_t* a(int64_t row) const { return reinterpret_cast<const uint8_t*>(x.bytes.row(row)); }
  const uint8_t* panel(int64_t p) const { return reinterpret_cast<const uint8_t*>(w.data + p * w.panel_bytes); }
  int64_t Count(int64_t first, int64_t most) const { return tiles - first < most ? tiles - first : most; }
  // Tiles [first, first + count) of panel p; `after` is the panel that will follow in this stream.
  const uint8_t* Tiles(int64_t p, int64_t after, int64_t first, int64_t count, uint8_t* scratch) const {
    if (blocks == nullptr) return panel(p) + first * kTileBytes;
    blocks->unpack(w.k, {panel(p), panel(after)}, first, count, scratch);
    return scratch;
  }
};

// Two panels, or one twice, when only one is left; the second is then not stored.
struct Pair {
  int64_t panel[2];
  bool both() const { return panel[0] != panel[1]; }
};

void StartBlock(const Target& t, Pair pair, int64_t row, int rows, bool going_on) {
  const int first = rows < kTileMaxRows ? rows : kTileMaxRows;
  for (int p = 0; p < 2; ++p) {
    Start(p, t, pair.panel[p], row, first, going_on);
    if (rows > kTileMaxRows) Start(2 + p, t, pair.panel[p], row + kTileMaxRows, rows - kTileMaxRows, going_on);
  }
}
void FinishBlock(const Target& t, Pair pair, int64_t row, int rows) {
  const int first = rows < kTileMaxRows ? rows : kTileMaxRows;
  for (int p = 0; p < (pair.both() ? 2 : 1); ++p) {
    Finish(p, t, pair.panel[p], row, first);
    if (rows > kTileMaxRows) Finish(2 + p, t, pair.panel[p], row + kTileMaxRows, rows - kTileMaxRows);
  }
}

// Tiles 0-3 of one block of rows and all inputs: `start` has filled them. Tiles are unpacked one step before they are loaded, so that loads
// do not wait for stores and the unit works while the next ones are unpacked.
void WholeDepth(const Problem& it, Pair pair, int64_t follow, int64_t row, int rows) {
  if (it.blocks == nullptr) {
    const uint8_t *b0 = it.panel(pair.panel[0]), *b1 = it.panel(pair.panel[1]);
    return Multiply<false>(rows, it.a(row), it.x.bytes.stride, b0, b1, it.tiles, FetchAhead(b0, b1, it.tiles, follow * it.w.panel_bytes));
  }
  alignas(64) uint8_t scratch[2][2][kFewTiles * kTileBytes];
  const auto count_at = [&](int64_t first) { return it.Count(first, kFewTiles); };
  const auto unpack = [&](int64_t first, int buffer) {
    for (int p = 0; p < 2; ++p) it.Tiles(pair.panel[p], pair.panel[p] + follow, first, count_at(first), scratch[buffer][p]);
  };
  unpack(0, 0);
  for (int64_t first = 0, buffer = 0; first < it.tiles; first += kFewTiles, buffer ^= 1) {
    if (first + kFewTiles < it.tiles) unpack(first + kFewTiles, static_cast<int>(buffer ^ 1));
    Visible(scratch);
    Multiply<false>(rows, it.a(row) + first * kTileMaxBytes, it.x.bytes.stride, scratch[buffer][0], scratch[buffer][1], count_at(first),
                    [] {});
  }
}

void FewRows(const Problem& it, int64_t panel_begin, int64_t panel_end, const Target& t) {
  const int rows = static_cast<int>(it.x.rows());
  ConfigureTiles(rows);
  int64_t panel = panel_begin;
  if (it.blocks == nullptr && rows <= kTileMaxRows) {
    for (; panel + 4 <= panel_end; panel += 4) {
      for (int p = 0; p < 4; ++p) Start(p, t, panel + p, 0, rows, false);
      FourPanels<false>(it.a(0), it.x.bytes.stride, it.panel(panel), it.w.panel_bytes, it.tiles);
      for (int p = 0; p < 4; ++p) Finish(p, t, panel + p, 0, rows);
    }
  }
  for (; panel < panel_end; panel += 2) {
    const Pair pair = {panel, panel + 1 < panel_end ? panel + 1 : panel};
    StartBlock(t, pair, 0, rows, false);
    WholeDepth(it, pair, panel + 3 < panel_end ? 2 : 0, 0, rows);
    FinishBlock(t, pair, 0, rows);
  }
}

// Calls block(row, rows) for all rows in blocks of 32. configured: the rows that tiles are configured for, 0 at first.
template <class Block>
SIMD_FN void ForBlocks(int64_t rows, int& configured, Block block) {
  for (int64_t row = 0; row < rows; row += kRowBlock) {
    const int count = static_cast<int>(rows - row < kRowBlock ? rows - row : kRowBlock);
    if (count != configured) ConfigureTiles(count);
    configured = count;
    block(row, count);
  }
}

// Tiles [first, first + count) of a pair of panels: what is multiplied with all rows before the next stretch. follow: panels from these to
// the ones after.
struct Stretch {
  Pair pair;
  int64_t first, count, follow;
};

// The weights of one stretch after the other. While the unit multiplies one, the next is brought in steps, an aside of Multiply: unpacked
// into the other half of scratch, or fetched into the second-level cache if it is tiles already.
class Weights {
 public:
  explicit Weights(const Problem& it) : it_(it) {}
  // Begins to bring `next`, in about `steps` steps.
  void Bring(const Stretch& next, int64_t steps) {
    next_ = next;
    steps_ = steps;
    half_ ^= 1;
    done_ = due_ = 0;
    tiles_ = (next.pair.both() ? 2 : 1) * next.count;
  }
  [[gnu::always_inline]] void operator()() {
    for (due_ += tiles_; due_ >= steps_ && done_ < tiles_; due_ -= steps_) BringTile();
  }
  // What was brought, whole: where the tiles of both panels begin.
  void Take(const uint8_t** b) {
    while (done_ < tiles_) BringTile();
    Visible(scratch_);
    for (int p = 0; p < 2; ++p) {
      if (it_.blocks == nullptr)
        b[p] = it_.panel(next_.pair.panel[p]) + next_.first * kTileBytes;
      else
        b[p] = scratch_[half_][next_.pair.both() ? p : 0];
    }
    tiles_ = done_ = 0;
  }

 private:
  void BringTile() {
    const int p = done_ < next_.count ? 0 : 1;
    const int64_t tile = done_ - p * next_.count;
    ++done_;
    const int64_t panel = next_.pair.panel[p];
    const uint8_t* at = it_.Tiles(panel, panel + next_.follow, next_.first + tile, 1, scratch_[half_][p] + tile * kTileBytes);
    if (it_.blocks == nullptr) FetchTile<2>(at);
  }

  const Problem& it_;
  Stretch next_ = {};
  int half_ = 0;
  int64_t steps_ = 1, tiles_ = 0, done_ = 0, due_ = 0;
  alignas(64) uint8_t scratch_[2][2][kManyTiles * kTileBytes];
};

// Calls block(stretch, row, rows, b, weights) for all blocks of rows of all stretches; at(i) is the i-th stretch, `blocks` how many blocks
// of rows there are.
template <class At, class Block>
SIMD_FN void ForStretches(const Problem& it, int64_t rows, int64_t stretches, int& configured, At at, Block block) {
  Weights weights(it);
  const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock;
  Stretch now = at(0);
  weights.Bring(now, 1);
  for (int64_t i = 0; i < stretches; ++i) {
    const uint8_t* b[2];
    weights.Take(b);
    const Stretch stretch = now;
    if (i + 1 < stretches) {
      now = at(i + 1);
      weights.Bring(now, blocks * stretch.count);
    }
    ForBlocks(
        rows, configured, [&](int64_t row, int count) __attribute__((always_inline)) { block(stretch, row, count, b, weights); });
  }
}

// Asks for the lines that a block of rows will read or write, a few per step, as an aside of the block before it.
class FetchResults {
 public:
  FetchResults(const Target& t, Pair pair, int64_t row, int rows, int64_t steps)
      : t_(t), pair_(pair), row_(row), end_(row + rows), per_step_((rows + steps - 1) / steps) {}
  [[gnu::always_inline]] void operator()() {
    for (int64_t i = 0; i < per_step_ && row_ < end_; ++i, ++row_)
      for (const int64_t panel : pair_.panel) __builtin_prefetch(t_.out.row(row_) + panel * kPanel, 1);
  }

 private:
  const Target& t_;
  Pair pair_;
  int64_t row_, end_, per_step_;
};

void ManyRows(const Problem& it, int64_t panel_begin, int64_t panel_end, const Target& t) {
  int configured = 0;
  const int64_t rows = it.x.rows(), pairs = (panel_end - panel_begin + 1) / 2;
  const auto at = [&](int64_t i) {
    const int64_t first = i / pairs * kManyTiles, panel = panel_begin + i % pairs * 2;
    const int64_t count = it.Count(first, kManyTiles);
    return Stretch{{{panel, panel + 1 < panel_end ? panel + 1 : panel}}, first, count, panel + 3 < panel_end ? 2 : 0};
  };
  ForStretches(
      it, rows, (it.tiles + kManyTiles - 1) / kManyTiles * pairs, configured,
      at, [&](const Stretch& s, int64_t row, int count, const uint8_t* const* b, Weights& weights) __attribute__((always_inline)) {
        // The next block of rows, or, behind the last, the first one of what is probably the next pair.
        const bool last = row + count == rows;
        const int64_t next = last ? 0 : row + count;
        const Pair pair = last && s.follow > 0 ? Pair{{s.pair.panel[0] + 2, s.pair.panel[1] + 2}} : s.pair;
        FetchResults fetch(t, pair, next, static_cast<int>(rows - next < kRowBlock ? rows - next : kRowBlock), s.count);
        StartBlock(t, s.pair, row, count, s.first > 0);
        Multiply<true>(count, it.a(row) + s.first * kTileMaxBytes, it.x.bytes.stride, b[0], b[1], s.count, [&] {
          weights();
          fetch();
        });
        FinishBlock(t, s.pair, row, count);
      });
}

// Subnormals as zero, as the matrix unit takes them, for a scope.
class FlushScope {
 public:
  FlushScope() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  ~FlushScope() { _mm_setcsr(saved_); }
  FlushScope(const FlushScope&) = delete;
  FlushScope& operator=(const FlushScope&) = delete;

 private:
  unsigned saved_;
};

// A few rows of a block format: the steps in vector registers.
class VectorProduct {
 public:
  static bool Fits(const Problem& it, int64_t rows) {
    return it.blocks != nullptr && rows <= kVectorRows && rows * it.w.k <= kVectorInputs;
  }
  VectorProduct(const Problem& it, int rows) : it_(it), steps_(it.blocks->steps[rows - 1]) {
    for (int r = 0; r < rows; ++r)
      for (int64_t i = 0; i < it.w.k; i += kLanes) Store(LoadBF16(reinterpret_cast<const uint16_t*>(it.a(r)) + i), x_ + r * it.w.k + i);
  }
  // Adds the products of `count` panels, each of which will be followed by the one `follow` further on.
  void AddTo(float* out, const int64_t* panels, int count, int64_t follow) const {
    PanelStream streams[kVectorPanels];
    for (int p = 0; p < count; ++p) streams[p] = {it_.panel(panels[p]), it_.panel(panels[p] + follow)};
    const FlushScope flush;  // of the steps alone: what begins and ends them is as with tiles
    steps_(it_.w.k, streams, count, x_, out);
  }

 private:
  const Problem& it_;
  VectorStepsFn steps_;
  alignas(64) float x_[kVectorInputs];
};

void VectorRows(const Problem& it, int64_t panel_begin, int64_t panel_end, const Target& t) {
  const int rows = static_cast<int>(it.x.rows());
  const VectorProduct product(it, rows);
  alignas(64) float block[kVectorRows * kVectorOut];
  for (int64_t panel = panel_begin; panel < panel_end; panel += kVectorPanels) {
    const int count = static_cast<int>(panel_end - panel < kVectorPanels ? panel_end - panel : kVectorPanels);
    int64_t panels[kVectorPanels];
    for (int p = 0; p < count; ++p) {
      panels[p] = panel + p;
      for (int r = 0; r < rows; ++r) Store(StartOfRow(t, panels[p], r, false), block + r * kVectorOut + p * kPanel);
    }
    product.AddTo(block, panels, count, panel + 2 * kVectorPanels <= panel_end ? kVectorPanels : 0);
    for (int p = 0; p < count; ++p)
      for (int r = 0; r < rows; ++r)
        StoreN(Load(block + r * kVectorOut + p * kPanel), t.out.row(r) + panels[p] * kPanel, t.Columns(panels[p]));
  }
}

// silu(gate) * up of a block of results, rounded to bf16.
void FinishGated(const float* c, int c_stride, int rows, uint16_t* out, int64_t out_stride, int padding) {
  for (int r = 0; r < rows; ++r) {
    const F32x16 gate = Load(c + r * c_stride), up = Load(c + r * c_stride + kPanel);
    uint16_t* at = out + r * out_stride;
    StoreBF16(Mul(Silu(gate), up), at);
    for (int i = 0; i < padding; ++i) at[kPanel + i] = 0;
  }
}

// One tile of integers as outputs: (i * w_scale) * x_scale (+ bias) (+ out), as in any/matmul_int8.cc.
void FinishInt8(int tile, const Activations& x, const PackedMat& w, const Target& t, int64_t panel, int64_t row, int rows) {
  alignas(64) int32_t block[kTileMaxRows * kTileMaxRows];
  StoreResult(tile, block, kTileMaxBytes);
  Visible(block);
  const int columns = t.Columns(panel);
  const F32x16 w_scale = Load(reinterpret_cast<const float*>(w.data + panel * w.panel_bytes));
  const F32x16 bias = t.bias == nullptr ? Zero() : LoadN(t.bias + panel * kPanel, columns);
  const int64_t padded = (x.k + 63) / 64 * 64;
  for (int r = 0; r < rows; ++r) {
    float scale;
    int32_t sum;
    __builtin_memcpy(&scale, x.bytes.row(row + r) + padded, 4);
    __builtin_memcpy(&sum, x.bytes.row(row + r) + padded + 4, 4);
    const __m512i whole = _mm512_sub_epi32(_mm512_load_si512(block + r * kTileMaxRows), _mm512_set1_epi32(128 * sum));
    F32x16 y = Mul(Mul(_mm512_cvtepi32_ps(whole), w_scale), Set(scale));
    if (t.bias != nullptr) y = Add(y, bias);
    float* at = t.out.row(row + r) + panel * kPanel;
    if (t.add) y = Add(LoadN(at, columns), y);
    StoreN(y, at, columns);
  }
}

// Bytes times bytes: panels are tiles 64 inputs deep, results exact.
void MultiplyInt8(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const Target& t) {
  const int64_t tiles = (w.k + 63) / 64;
  const auto codes = [&](int64_t panel) { return reinterpret_cast<const uint8_t*>(w.data + panel * w.panel_bytes) + kInt8ScaleBytes; };
  const auto a = [&](int64_t row) { return reinterpret_cast<const uint8_t*>(x.bytes.row(row)); };
  int64_t panel = panel_begin;
  int configured = 0;
  if (x.rows() <= kTileMaxRows) {
    const int rows = configured = static_cast<int>(x.rows());
    ConfigureTiles(rows);
    for (; panel + 4 <= panel_end; panel += 4) {
      for (int p = 0; p < 4; ++p) ZeroResult(p);
      FourPanels<true>(a(0), x.bytes.stride, codes(panel), w.panel_bytes, tiles);
      for (int p = 0; p < 4; ++p) FinishInt8(p, x, w, t, panel + p, 0, rows);
    }
  }
  for (; panel < panel_end; panel += 2) {
    const Pair pair = {{panel, panel + 1 < panel_end ? panel + 1 : panel}};
    ForBlocks(
        x.rows(), configured, [&](int64_t row, int rows) __attribute__((always_inline)) {
          for (int tile = 0; tile < 4; ++tile) ZeroResult(tile);
          const uint8_t *b0 = codes(pair.panel[0]), *b1 = codes(pair.panel[1]);
          FetchAhead bring(b0, b1, tiles, 2 * w.panel_bytes);
          FetchResults fetch(t, pair, row, rows, tiles);
          Multiply<true, true>(rows, a(row), x.bytes.stride, b0, b1, tiles, [&] {
            if (row == 0) bring();  // the others find the panels in the second-level cache
            fetch();
          });
          const int first = rows < kTileMaxRows ? rows : kTileMaxRows;
          for (int p = 0; p < (pair.both() ? 2 : 1); ++p) {
            FinishInt8(p, x, w, t, pair.panel[p], row, first);
            if (rows > kTileMaxRows) FinishInt8(2 + p, x, w, t, pair.panel[p], row + kTileMaxRows, rows - kTileMaxRows);
          }
        });
  }
}

}  // namespace

Form TileForm(DType format) {
  switch (format) {
    case DType::kF32:
    case DType::kF16: return Form::kFloat;  // bf16 would take bits away from them
    case DType::kI8: return Form::kInt8;
    default: return Form::kBFloat;
  }
}

void TileMatMul(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add,
                Mat<float> out) {
  if (x.form == Form::kFloat) return MatMul(x, w, panel_begin, panel_end, bias, add, out);
  const Target target = {bias, add, out, w.n};
  const Problem it(x, w);
  if (x.form == Form::kInt8)
    MultiplyInt8(x, w, panel_begin, panel_end, target);
  else if (VectorProduct::Fits(it, x.rows()))
    return VectorRows(it, panel_begin, panel_end, target);
  else if (x.rows() <= kRowBlock)
    FewRows(it, panel_begin, panel_end, target);
  else
    ManyRows(it, panel_begin, panel_end, target);
  _tile_release();
}

namespace {

// Zeros that follow the last of `width` numbers of a row of inputs, up to whole steps of 32.
int Padding(int64_t width) { return static_cast<int>((32 - width % 32) % 32); }

// silu(gate) * up of blocks of results, rounded to bf16: an aside of the product that follows.
class GatedBlocks {
 public:
  GatedBlocks(Mat<std::byte> out, int64_t width)
      : out_(reinterpret_cast<uint16_t*>(out.row(0))), stride_(out.stride / 2), up_(width / kPanel), padding_(Padding(width)) {}
  // Of `rows` rows from `row` on, whose results (gate and up, kRowBlock numbers a row) are at c; in `steps` steps.
  void Add(const float* c, int64_t panel, int64_t row, int rows, int64_t steps) {
    Finish();
    c_ = c;
    left_ = rows;
    per_step_ = static_cast<int>((rows + steps - 1) / steps);
    to_ = out_ + row * stride_ + panel * kPanel;
    pad_ = panel + 1 == up_ ? padding_ : 0;
  }
  [[gnu::always_inline]] void operator()() { Some(per_step_); }
  void Finish() { Some(left_); }

 private:
  [[gnu::always_inline]] void Some(int rows) {
    if (rows > left_) rows = left_;
    for (int r = 0; r < rows; ++r) __builtin_prefetch(to_ + (kFetchRows + r) * stride_, 1);
    FinishGated(c_, kRowBlock, rows, to_, stride_, pad_);
    c_ += rows * kRowBlock;
    to_ += rows * stride_;
    left_ -= rows;
  }
  static constexpr int kFetchRows = 8;  // so far ahead the lines of the output are asked for
  uint16_t* out_;
  int64_t stride_, up_;
  int padding_;
  const float* c_ = nullptr;
  uint16_t* to_ = nullptr;
  int left_ = 0, per_step_ = 0, pad_ = 0;
};

void GatedVectorRows(const Problem& it, int64_t panel_begin, int64_t panel_end, const float* bias, Mat<std::byte> out) {
  const int64_t width = it.w.n / 2, up = width / kPanel;
  const int rows = static_cast<int>(it.x.rows());
  const VectorProduct product(it, rows);
  alignas(64) float block[kVectorRows * kVectorOut];
  for (int64_t panel = panel_begin; panel < panel_end; panel += 2) {
    const int pairs = panel + 1 < panel_end ? 2 : 1;
    const int64_t panels[kVectorPanels] = {panel, panel + up, panel + 1, panel + 1 + up};
    for (int p = 0; p < 2 * pairs; ++p)
      for (int r = 0; r < rows; ++r) Store(bias == nullptr ? Zero() : Load(bias + panels[p] * kPanel), block + r * kVectorOut + p * kPanel);
    product.AddTo(block, panels, 2 * pairs, panel + 4 <= panel_end ? 2 : 0);
    for (int i = 0; i < pairs; ++i) {
      const int padding = panel + i + 1 == up ? Padding(width) : 0;
      uint16_t* to = reinterpret_cast<uint16_t*>(out.row(0)) + (panel + i) * kPanel;
      FinishGated(block + 2 * i * kPanel, kVectorOut, rows, to, out.stride / 2, padding);
    }
  }
}

}  // namespace

void TileMatMulGated(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias,
                     Mat<std::byte> out) {
  const Problem it(x, w);
  if (VectorProduct::Fits(it, x.rows())) return GatedVectorRows(it, panel_begin, panel_end, bias, out);
  alignas(64) float results[kGatedRows * kRowBlock];
  const int64_t width = w.n / 2, up = width / kPanel;
  const Target target = {nullptr, false, {results, kGatedRows, kRowBlock, kRowBlock}, kRowBlock};
  int configured = 0;
  GatedBlocks gated(out, width);
  // `slot`: the row of `results` where the block's results are
  const auto start = [&](int64_t panel, int64_t slot, int rows, bool going_on) __attribute__((always_inline)) {
    float both[kRowBlock];
    Target from = target;
    if (bias != nullptr) {
      Store(Load(bias + panel * kPanel), both);
      Store(Load(bias + width + panel * kPanel), both + kPanel);
      Visible(both);
      from.bias = both;
    }
    StartBlock(from, {{0, 1}}, slot, rows, going_on);
  };
  const auto finish = [&](int64_t slot, int rows) __attribute__((always_inline)) {
    FinishBlock(target, {{0, 1}}, slot, rows);
    Visible(results);
  };
  if (x.rows() <= kRowBlock) {
    const int rows = static_cast<int>(x.rows());
    ConfigureTiles(rows);
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      start(panel, 0, rows, false);
      WholeDepth(it, {{panel, panel + up}}, panel + 1 < panel_end ? 1 : 0, 0, rows);
      finish(0, rows);
      gated.Add(results, panel, 0, rows, 1);
      gated.Finish();
    }
    _tile_release();
    return;
  }
  // Where one stretch is the whole depth, results are kept for the length of a block; else for as many rows as there is room for.
  const int64_t stretches = (it.tiles + kManyTiles - 1) / kManyTiles;
  const int64_t kept = stretches == 1 ? x.rows() : kGatedRows;
  for (int64_t top = 0; top < x.rows(); top += kept) {
    const auto at = [&](int64_t i) {
      const int64_t first = i % stretches * kManyTiles, panel = panel_begin + i / stretches;
      const int64_t count = it.Count(first, kManyTiles);
      return Stretch{{{panel, panel + up}}, first, count, panel + 1 < panel_end ? 1 : 0};
    };
    ForStretches(
        it, x.rows() - top < kept ? x.rows() - top : kept, stretches * (panel_end - panel_begin), configured,
        at, [&](const Stretch& s, int64_t row, int rows, const uint8_t* const* b, Weights& weights) __attribute__((always_inline)) {
          const int64_t slot = stretches == 1 ? row % (2 * kRowBlock) : row;
          start(s.pair.panel[0], slot, rows, s.first > 0);
          Multiply<true>(rows, it.a(top + row) + s.first * kTileMaxBytes, it.x.bytes.stride, b[0], b[1], s.count, [&] {
            weights();
            gated();
          });
          gated.Finish();
          finish(slot, rows);
          if (s.first + s.count == it.tiles) gated.Add(results + slot * kRowBlock, s.pair.panel[0], top + row, rows, s.count);
        });
    gated.Finish();
  }
  _tile_release();
}

}  // namespace sgl::KERNEL_ISA
