#include "cli/parse.h"

namespace flashmoe::cli {

namespace {

constexpr const char* kQuantizeAbout =
    "Writes a model in fewer bits, in MLX's affine format, which mlx-lm reads too.\n\n"
    "  flashmoe imatrix SRC calibration.txt --moments\n"
    "  flashmoe quantize SRC OUT --bits 2 --imatrix imatrix.safetensors\n"
    "  flashmoe quantize SRC OUT --bits 4 --recipe minmax\n\n"
    "Scales and codes are found by least squares, of the weights or, with --imatrix, of what the\n"
    "matrices give for inputs like those measured. A recipe says which kind of matrix gets how "
    "many\n"
    "bits: mixed (default) keeps what every token passes through higher than the experts, even "
    "gives\n"
    "all the same, minmax is even with codes spread from the smallest to the largest weight, as\n"
    "mlx-lm's conversion has it, to the bit. Or a file: see --print-recipe.";

constexpr const char* kImatrixAbout =
    "Measures how large the inputs of a model's matrices are on a text, for quantize --imatrix.\n\n"
    "  flashmoe imatrix SRC calibration.txt -o imatrix.safetensors\n\n"
    "The text should be like what the model is used for, chat template and special tokens "
    "included,\n"
    "and reach every expert: 100,000 tokens are a beginning. It is run in windows of --context "
    "tokens\n"
    "(default 2048). The file holds the mean square of every input, for experts over their own\n"
    "tokens; with --moments also the mean products of every two, which lets quantize make up for "
    "the\n"
    "error of one weight by the others: far better below 4 bits, and larger (4 bytes for each "
    "pair).";

}  // namespace

CLI::App* add_quantize(CLI::App& app, QuantizeCommandOptions* o) {
  CLI::App* quantize = app.add_subcommand("quantize", kQuantizeAbout);
  quantize->add_option("SRC", o->source, "Folder, .gguf file or org/name");
  quantize->add_option("OUT", o->destination, "Folder to write");
  quantize->add_option("--bits", o->bits, "Bits of a weight (default: the recipe's, or 4)")
      ->check(CLI::IsMember({2, 3, 4, 5, 6, 8}));
  quantize->add_option("--group", o->group, "Weights that share a scale (default: recipe's, or 64)")
      ->check(CLI::IsMember({32, 64, 128}));
  quantize->add_option("--recipe", o->recipe, "mixed, even, minmax, or a file (default: mixed)")
      ->type_name("NAME|FILE");
  quantize->add_option("--imatrix", o->importance, "What flashmoe imatrix measured of SRC")
      ->type_name("FILE");
  quantize->add_flag("--print-recipe", o->print_recipe, "Print the recipe and do nothing else");
  quantize->add_option("--threads", o->threads, "Threads (default: one for each CPU)")
      ->check(CLI::Range(1, 1024));
  return quantize;
}

CLI::App* add_imatrix(CLI::App& app, ImatrixOptions* o) {
  CLI::App* imatrix = app.add_subcommand("imatrix", kImatrixAbout);
  imatrix->add_option("SRC", o->model.model, "Folder, .gguf file or org/name")->required();
  imatrix->add_option("TEXT", o->text, "Text file (- for standard input)")->required();
  imatrix->add_option("-o,--out", o->out, "File to write (default: imatrix.safetensors)")
      ->type_name("FILE");
  imatrix->add_flag("--moments", o->moments, "The products of every two inputs, too");
  add_model_options(*imatrix, &o->model);
  imatrix->get_option("--context")->description("Tokens of a window (default: 2048)");
  return imatrix;
}

}  // namespace flashmoe::cli
