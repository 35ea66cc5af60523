// SPDX-License-Identifier: Apache-2.0
#include "text/pre_tokenizer.h"

#include <algorithm>
#include <cctype>

#include "base/check.h"
#include "text/unicode_tables.h"
#include "text/vocab.h"

namespace sgl {
namespace {

struct Span {
  size_t begin, end;
  bool match;
};

// Turns the spans that tile a piece into pieces.
class Emitter {
 public:
  Emitter(Piece piece, std::vector<Piece>* out) : piece_(piece), out_(out) {}

  void Put(size_t begin, size_t end) {
    if (begin < end) out_->push_back({piece_.text.substr(begin, end - begin), piece_.at_start && begin == 0});
  }

  void Put(const std::vector<Span>& spans, SplitBehavior behavior) {
    switch (behavior) {
      case SplitBehavior::kIsolated:
        for (const Span& span : spans) Put(span.begin, span.end);
        return;
      case SplitBehavior::kRemoved:
        for (const Span& span : spans)
          if (!span.match) Put(span.begin, span.end);
        return;
      case SplitBehavior::kContiguous:
        for (size_t i = 0, j = 0; i < spans.size(); i = j) {
          for (j = i + 1; j < spans.size() && spans[j].match == spans[i].match;) ++j;
          Put(spans[i].begin, spans[j - 1].end);
        }
        return;
      case SplitBehavior::kMergedWithPrevious:
        // A match joins what is before it, unless that was a match.
        for (size_t i = 0; i < spans.size(); ++i) {
          const size_t begin = spans[i].begin;
          if (!spans[i].match && i + 1 < spans.size() && spans[i + 1].match) ++i;
          Put(begin, spans[i].end);
        }
        return;
      case SplitBehavior::kMergedWithNext:
        // A match joins what is after it, unless that is a match.
        for (size_t i = 0; i < spans.size(); ++i) {
          const size_t begin = spans[i].begin;
          if (spans[i].match && i + 1 < spans.size() && !spans[i + 1].match) ++i;
          Put(begin, spans[i].end);
        }
        return;
    }
  }

 private:
  Piece piece_;
  std::vector<Piece>* out_;
};

struct StageRunner {
  Piece piece;
  std::vector<Piece>* out;
  std::deque<std::string>* texts;

  void operator()(const SplitStage& stage) const {
    const std::string_view text = piece.text;
    Emitter emit(piece, out);
    if (stage.known != nullptr) {
      for (size_t at = 0; at < text.size();) {
        const size_t end = stage.known(text, at);
        emit.Put(at, end);
        at = end;
      }
      return;
    }
    if (stage.automaton != nullptr) return RunAutomaton(stage, emit);
    std::vector<Span> spans;
    size_t done = 0;
    const bool finished = stage.pattern.ForEach(text, [&](size_t begin, size_t end) {
      if (done != begin) spans.push_back({done, begin, stage.invert});
      spans.push_back({begin, end, !stage.invert});
      done = end;
    });
    // The tail; or, when the regex gave up, all the rest as one piece that is kept whatever the behaviour.
    if (done != text.size()) spans.push_back({done, text.size(), stage.invert && finished});
    emit.Put(spans, stage.behavior);
  }

  void RunAutomaton(const SplitStage& stage, Emitter& emit) const {
    const std::string_view text = piece.text;
    const bool matches_only = stage.behavior == SplitBehavior::kRemoved && stage.invert;
    const bool direct = stage.behavior == SplitBehavior::kIsolated || matches_only;  // no need to see the neighbours
    std::vector<Span> spans;
    size_t done = 0;
    const auto put = [&](size_t begin, size_t end, bool match) {
      if (begin == end) return;
      if (!direct) return spans.push_back({begin, end, match != stage.invert});
      if (match || !matches_only) emit.Put(begin, end);
    };
    for (size_t at = 0; at < text.size();) {
      const size_t end = stage.automaton->Match(text, at);
      if (end == SplitAutomaton::kNone) {
        size_t length = 0;
        CodePointAt(text, at, &length);
        at += length;
        continue;
      }
      put(done, at, false);
      put(at, end, true);
      done = at = end;
    }
    put(done, text.size(), false);
    if (!direct) emit.Put(spans, stage.behavior);
  }

  void operator()(const CharStage& stage) const {
    const CharTable& table = CharTable::Get();
    std::vector<Span> spans;
    size_t length = 0;
    for (size_t at = 0; at < piece.text.size(); at += length) {
      const uint32_t cp = CodePointAt(piece.text, at, &length);
      bool match = false;
      switch (stage.kind) {
        // Rust's numbers are those of Unicode 17.
        case CharStage::Kind::kNumber:
          match = (table.Bits(cp) & kNumber) != 0 || (cp >= 0x11DE0 && cp <= 0x11DE9) || (cp >= 0x16FF4 && cp <= 0x16FF6);
          break;
        case CharStage::Kind::kPunctuation: match = IsPunctuation(cp); break;
        case CharStage::Kind::kWhiteSpace: match = (table.Bits(cp) & kSpaceBit) != 0; break;
      }
      if (!match && !spans.empty() && !spans.back().match) {
        spans.back().end = at + length;
      } else {
        spans.push_back({at, at + length, match});
      }
    }
    Emitter(piece, out).Put(spans, stage.behavior);
  }

  void operator()(const PrefixSpaceStage&) const {
    if (piece.text[0] == ' ') return out->push_back(piece);
    texts->push_back(" " + std::string(piece.text));
    out->push_back({texts->back(), piece.at_start});
  }

  void operator()(const ByteCharsStage&) const {
    std::string text;
    text.reserve(2 * piece.text.size());
    for (const char c : piece.text) text += ByteChars::Get().text[static_cast<unsigned char>(c)];
    texts->push_back(std::move(text));
    out->push_back({texts->back(), piece.at_start});
  }

  void operator()(const ScriptStage&) const {
    Emitter emit(piece, out);
    // Kana and the prolonged sound mark count as Han.
    const auto script_of = [](uint32_t cp) {
      const ScriptRange* range = FindRange(Scripts(), cp);
      return range == nullptr ? -1 : static_cast<int>(range->script);
    };
    int last = -1;
    size_t begin = std::string_view::npos, length = 0;  // what comes before the first script is lost, as in the reference
    for (size_t at = 0; at < piece.text.size(); at += length) {
      const int script = script_of(CodePointAt(piece.text, at, &length));
      if (script == -1 || script == last) continue;
      if (last != -1) emit.Put(begin, at);
      begin = at;
      last = script;
    }
    emit.Put(begin, piece.text.size());
  }

  void operator()(const LengthStage& stage) const {
    Emitter emit(piece, out);
    size_t begin = 0, count = 0, length = 0;
    for (size_t at = 0; at < piece.text.size(); at += length, ++count) {
      CodePointAt(piece.text, at, &length);
      if (count == stage.chars) emit.Put(begin, at), begin = at, count = 0;
    }
    emit.Put(begin, piece.text.size());
  }

  void operator()(const DigitGroupStage& stage) const {
    using Kind = DigitGroupStage::Kind;
    const CharTable& table = CharTable::Get();
    const uint32_t bits = stage.kind == Kind::kNumbers ? kNumber : Bit(Category::kNd);
    Emitter emit(piece, out);
    std::vector<size_t> ends;  // of the digits of one number
    size_t begin = 0, length = 0;
    for (size_t at = 0; at < piece.text.size();) {
      const size_t start = at;
      uint32_t cp = 0;
      for (ends.clear(); at < piece.text.size(); at += length) {
        cp = CodePointAt(piece.text, at, &length);
        if ((table.Bits(cp) & bits) == 0) break;
        ends.push_back(at + length);
      }
      if (ends.empty()) {
        at += length;
        continue;
      }
      const bool word_goes_on = at < piece.text.size() && IsOnigurumaWord(cp);
      if (stage.kind == Kind::kDigitsAtWordEnd && word_goes_on) continue;
      const size_t first = ends.size() % 3;
      // With look-ahead alone a number of 3n + 1 digits stays with what is before it.
      if (stage.kind != Kind::kDigits || first == 0) emit.Put(begin, start), begin = start;
      for (size_t i = first == 0 ? 3 : first; i <= ends.size(); i += 3) {
        if (stage.kind == Kind::kDigits && i == ends.size()) break;  // nor is there a cut behind a number
        emit.Put(begin, ends[i - 1]), begin = ends[i - 1];
      }
    }
    emit.Put(begin, piece.text.size());
  }

  void operator()(const MetaspaceStage& stage) const {
    std::string text = ReplaceAll(piece.text, TextPattern{" ", nullptr}, stage.replacement);
    using Prepend = MetaspaceStage::Prepend;
    const bool wanted = stage.prepend == Prepend::kAlways || (stage.prepend == Prepend::kFirst && piece.at_start);
    if (wanted && !text.starts_with(stage.replacement)) text = stage.replacement + text;
    texts->push_back(std::move(text));
    const Piece whole{texts->back(), piece.at_start};
    if (!stage.split) return out->push_back(whole);
    SplitStage split;
    split.pattern.literal = stage.replacement;
    split.behavior = SplitBehavior::kMergedWithNext;
    StageRunner{whole, out, texts}(split);
  }
};

}  // namespace

SplitStage KnownSplitStage(std::string_view pattern) {
  Result<SplitStage> stage = PatternStage(pattern);
  CHECK(stage.ok() && stage->known != nullptr);
  return *std::move(stage);
}

Result<SplitStage> PatternStage(std::string_view pattern, RegexSyntax syntax, SplitBehavior behavior, bool invert) {
  SplitStage stage;
  stage.behavior = behavior;
  stage.invert = invert;
  // Matches that tile the text: Isolated, and Removed with everything that is not a match, both give the matches.
  const bool gives_matches = behavior == SplitBehavior::kIsolated || (behavior == SplitBehavior::kRemoved && invert);
  stage.known = gives_matches ? KnownSplitter(pattern) : nullptr;
  stage.automaton = SplitAutomaton::Compile(pattern, syntax);
  if (stage.known != nullptr || stage.automaton != nullptr) return stage;
  if (syntax == RegexSyntax::kRust) return Unimplemented("this pattern is not supported: " + std::string(pattern));
  TRY(Regex regex, Regex::Compile(pattern, syntax));
  stage.pattern.regex = std::make_shared<const Regex>(std::move(regex));
  return stage;
}

SplitStage LiteralStage(const std::string& text, SplitBehavior behavior, bool invert) {
  std::string escaped;
  for (const char c : text) {
    if (std::ispunct(static_cast<unsigned char>(c))) escaped += '\\';
    escaped += c;
  }
  SplitStage stage;
  stage.pattern.literal = text;
  stage.behavior = behavior;
  stage.invert = invert;
  stage.automaton = SplitAutomaton::Compile(escaped, RegexSyntax::kRust);
  return stage;
}

Status AddPattern(std::string_view pattern, RegexSyntax syntax, SplitBehavior behavior, bool invert, PreTokenizer* out) {
  using Kind = DigitGroupStage::Kind;
  if (behavior == SplitBehavior::kIsolated && !invert) {
    if (pattern == R"((?=(\d{3})+(?!\d)))") return out->Add(DigitGroupStage{Kind::kDigits}), Status();
    if (pattern == R"(\d{1,3}(?=(?:\d{3})*\b))") return out->Add(DigitGroupStage{Kind::kDigitsAtWordEnd}), Status();
  }
  TRY(SplitStage stage, PatternStage(pattern, syntax, behavior, invert));
  out->Add(std::move(stage));
  return {};
}

namespace {

// What each stage has to say about a cut.
struct Cutter {
  using Kind = PreTokenizer::CutKind;
  const CharSet &before, &after;

  Kind operator()(const SplitStage& stage) const {
    if (stage.automaton == nullptr) return Kind::kHarmful;
    if (stage.automaton->Ignores(before) && stage.automaton->Ignores(after)) return Kind::kHarmless;
    const bool gives_matches = stage.behavior == SplitBehavior::kIsolated || (stage.behavior == SplitBehavior::kRemoved && stage.invert);
    if (!gives_matches || !stage.automaton->NeverCrosses(before, after)) return Kind::kHarmful;
    return stage.automaton->tiles() || stage.automaton->MatchesEach(before) ? Kind::kAlways : Kind::kHarmless;
  }
  // Looks at each character alone; what is between matches stays together. Numbers are in no cut.
  Kind operator()(const CharStage& stage) const {
    const bool local =
        stage.behavior == SplitBehavior::kIsolated || stage.behavior == SplitBehavior::kRemoved || stage.kind == CharStage::Kind::kNumber;
    const bool parts = stage.kind == CharStage::Kind::kWhiteSpace && (after == CharSet{{' ', ' '}} || after == CharSet{{'\n', '\n'}});
    return !local ? Kind::kHarmful : parts ? Kind::kAlways : Kind::kHarmless;
  }
  // A piece that begins with a space gets none of its own.
  Kind operator()(const PrefixSpaceStage&) const { return after == CharSet{{' ', ' '}} ? Kind::kHarmless : Kind::kHarmful; }
  Kind operator()(const MetaspaceStage& stage) const {
    const uint32_t mark = 0x2581;
    const bool space = after == CharSet{{' ', ' '}} || after == CharSet{{mark, mark}};
    if (!space || stage.replacement != "\xE2\x96\x81") return Kind::kHarmful;
    return stage.split ? Kind::kAlways : Kind::kHarmless;
  }
  Kind operator()(const ByteCharsStage&) const { return Kind::kHarmless; }
  Kind operator()(const ScriptStage&) const { return Kind::kHarmful; }
  Kind operator()(const LengthStage&) const { return Kind::kHarmful; }
  Kind operator()(const DigitGroupStage&) const { return Kind::kHarmless; }
};

}  // namespace

PreTokenizer::CutKind PreTokenizer::CutBetween(const CharSet& before, const CharSet& after) const {
  CutKind kind = CutKind::kHarmless;
  for (size_t i = 0; i < stages_.size(); ++i) {
    // After a stage that rewrites the text, the sets would mean something else.
    const bool rewrites = std::holds_alternative<ByteCharsStage>(stages_[i]) || std::holds_alternative<MetaspaceStage>(stages_[i]);
    if (rewrites && i + 1 != stages_.size()) return CutKind::kHarmful;
    const CutKind here = std::visit(Cutter{before, after}, stages_[i]);
    if (here == CutKind::kHarmful) return here;
    if (here == CutKind::kAlways) kind = here;
  }
  return kind;
}

bool PreTokenizer::MakesByteChars() const {
  return std::any_of(stages_.begin(), stages_.end(),
                     [](const PreTokenizerStage& stage) { return std::holds_alternative<ByteCharsStage>(stage); });
}

bool PreTokenizer::TellsTheStart() const {
  return std::any_of(stages_.begin(), stages_.end(), [](const PreTokenizerStage& stage) {
    const auto* metaspace = std::get_if<MetaspaceStage>(&stage);
    return metaspace != nullptr && metaspace->prepend == MetaspaceStage::Prepend::kFirst;
  });
}

bool PreTokenizer::MakesMetaspace() const {
  return std::any_of(stages_.begin(), stages_.end(), [](const PreTokenizerStage& stage) {
    const auto* metaspace = std::get_if<MetaspaceStage>(&stage);
    return metaspace != nullptr && metaspace->replacement == "\xE2\x96\x81";
  });
}

void PreTokenizer::Run(std::string_view text, bool at_start, Work& work) const {
  work.texts.clear();
  work.pieces.clear();
  if (!text.empty()) work.pieces.push_back({text, at_start});
  for (const PreTokenizerStage& stage : stages_) {
    work.next.clear();
    for (const Piece& piece : work.pieces) std::visit(StageRunner{piece, &work.next, &work.texts}, stage);
    work.pieces.swap(work.next);
  }
}

}  // namespace sgl
