// SPDX-License-Identifier: Apache-2.0
#include "text/pre_tokenizer.h"

#include "base/check.h"

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

  void operator()(const MetaspaceStage& stage) const {
    std::string text = ReplaceAll(piece.text, TextPattern{" ", nullptr}, stage.replacement);
    using Prepend = MetaspaceStage::Prepend;
    const bool wanted = stage.prepend == Prepend::kAlways || (stage.prepend == Prepend::kFirst && piece.at_start);
    if (wanted && !text.starts_with(stage.replacement)) text = stage.replacement + text;
    texts->push_back(std::move(text));
    const Piece whole{texts->back(), piece.at_start};
    if (!stage.split) return out->push_back(whole);
    StageRunner{whole, out, texts}(SplitStage{TextPattern{stage.replacement, nullptr}, SplitBehavior::kMergedWithNext});
  }
};

}  // namespace

SplitStage KnownSplitStage(std::string_view pattern) {
  SplitStage stage;
  stage.known = KnownSplitter(pattern);
  CHECK(stage.known != nullptr);
  return stage;
}

Result<SplitStage> PatternStage(std::string_view pattern) {
  if (KnownSplitter(pattern) != nullptr) return KnownSplitStage(pattern);
  SplitStage stage;
  TRY(Regex regex, Regex::Compile(pattern, RegexSyntax::kOniguruma));
  stage.pattern.regex = std::make_shared<const Regex>(std::move(regex));
  return stage;
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
