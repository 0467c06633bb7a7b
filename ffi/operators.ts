/**
 * The ATen operators that lorikeet calls, one line each: PyTorch's schema without
 * alias marks and `*`. To use another operator, add a line.
 *
 * @module
 */

/**
 * Schema texts by the name that `lib/tensor` gives them.
 *
 * @internal
 */
export const OPERATORS = {
  // arithmetic
  mul: "aten::mul.Tensor(Tensor self, Tensor other) -> Tensor",
  mul_: "aten::mul_.Tensor(Tensor self, Tensor other) -> Tensor",
  div: "aten::div.Tensor(Tensor self, Tensor other) -> Tensor",
  neg: "aten::neg(Tensor self) -> Tensor",
  sqrt: "aten::sqrt(Tensor self) -> Tensor",
  rsqrt: "aten::rsqrt(Tensor self) -> Tensor",
  exp: "aten::exp(Tensor self) -> Tensor",
  cos: "aten::cos(Tensor self) -> Tensor",
  sin: "aten::sin(Tensor self) -> Tensor",
  tanh: "aten::tanh(Tensor self) -> Tensor",
  sigmoid: "aten::sigmoid(Tensor self) -> Tensor",
  logaddexp: "aten::logaddexp(Tensor self, Tensor other) -> Tensor",
  lerp_: "aten::lerp_.Tensor(Tensor self, Tensor end, Tensor weight) -> Tensor",
  isfinite: "aten::isfinite(Tensor self) -> Tensor",
  eq: "aten::eq.Tensor(Tensor self, Tensor other) -> Tensor",
  le: "aten::le.Tensor(Tensor self, Tensor other) -> Tensor",
  lt: "aten::lt.Tensor(Tensor self, Tensor other) -> Tensor",
  ge: "aten::ge.Tensor(Tensor self, Tensor other) -> Tensor",
  gt: "aten::gt.Tensor(Tensor self, Tensor other) -> Tensor",
  where:
    "aten::where.self(Tensor condition, Tensor self, Tensor other) -> Tensor",
  sum: "aten::sum(Tensor self, ScalarType? dtype=None) -> Tensor",
  sumDim:
    "aten::sum.dim_IntList(Tensor self, int[]? dim, bool keepdim=False, ScalarType? dtype=None) -> Tensor",
  meanDim:
    "aten::mean.dim(Tensor self, int[]? dim, bool keepdim=False, ScalarType? dtype=None) -> Tensor",
  dot: "aten::dot(Tensor self, Tensor tensor) -> Tensor",
  all: "aten::all(Tensor self) -> Tensor",
  argmax:
    "aten::argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor",
  cumsum:
    "aten::cumsum(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
  logsumexp:
    "aten::logsumexp(Tensor self, int[] dim, bool keepdim=False) -> Tensor",
  topk:
    "aten::topk(Tensor self, SymInt k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor, Tensor)",
  softmax:
    "aten::softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
  multinomial:
    "aten::multinomial(Tensor self, SymInt num_samples, bool replacement=False, Generator? generator=None) -> Tensor",

  // matrix products
  linear:
    "aten::linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor",
  mm: "aten::mm(Tensor self, Tensor mat2) -> Tensor",
  linalgSvd:
    "aten::linalg_svd(Tensor A, bool full_matrices=True, str? driver=None) -> (Tensor, Tensor, Tensor)",
  linalgQr: "aten::linalg_qr(Tensor A, str mode='reduced') -> (Tensor, Tensor)",
  matmul: "aten::matmul(Tensor self, Tensor other) -> Tensor",

  // neural network
  embedding:
    "aten::embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor",
  siluBackward:
    "aten::silu_backward(Tensor grad_output, Tensor self) -> Tensor",
  geluBackward:
    "aten::gelu_backward(Tensor grad_output, Tensor self, str approximate='none') -> Tensor",
  silu: "aten::silu(Tensor self) -> Tensor",
  gelu: "aten::gelu(Tensor self, str approximate='none') -> Tensor",
  relu: "aten::relu(Tensor self) -> Tensor",
  layerNorm:
    "aten::layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, bool cudnn_enable=True) -> Tensor",
  rmsNorm:
    "aten::rms_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor",
  scaledDotProductAttention:
    "aten::scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0.0, bool is_causal=False, float? scale=None, bool enable_gqa=False) -> Tensor",
  flashAttention:
    "aten::_scaled_dot_product_flash_attention_for_cpu(Tensor query, Tensor key, Tensor value, float dropout_p=0.0, bool is_causal=False, Tensor? attn_mask=None, float? scale=None) -> (Tensor, Tensor)",
  flashAttentionBackward:
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward(Tensor grad_out, Tensor query, Tensor key, Tensor value, Tensor out, Tensor logsumexp, float dropout_p, bool is_causal, Tensor? attn_mask=None, float? scale=None) -> (Tensor, Tensor, Tensor)",
  raggedAttention:
    "aten::_flash_attention_forward(Tensor query, Tensor key, Tensor value, Tensor? cum_seq_q, Tensor? cum_seq_k, SymInt max_q, SymInt max_k, float dropout_p, bool is_causal, bool return_debug_mask, float? scale=None, SymInt? window_size_left=None, SymInt? window_size_right=None, Tensor? seqused_k=None, Tensor? alibi_slopes=None) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
  raggedAttentionBackward:
    "aten::_flash_attention_backward(Tensor grad_out, Tensor query, Tensor key, Tensor value, Tensor out, Tensor logsumexp, Tensor cum_seq_q, Tensor cum_seq_k, SymInt max_q, SymInt max_k, float dropout_p, bool is_causal, Tensor rng_state, Tensor unused, float? scale=None, SymInt? window_size_left=None, SymInt? window_size_right=None) -> (Tensor, Tensor, Tensor)",
  efficientAttention:
    "aten::_efficient_attention_forward(Tensor query, Tensor key, Tensor value, Tensor? bias, Tensor? cu_seqlens_q, Tensor? cu_seqlens_k, SymInt? max_seqlen_q, SymInt? max_seqlen_k, float dropout_p, int custom_mask_type, bool compute_log_sumexp=False, float? scale=None) -> (Tensor, Tensor, Tensor, Tensor, int, int)",
  efficientAttentionBackward:
    "aten::_efficient_attention_backward(Tensor grad_out_, Tensor query, Tensor key, Tensor value, Tensor? bias, Tensor out, Tensor? cu_seqlens_q, Tensor? cu_seqlens_k, SymInt max_seqlen_q, SymInt max_seqlen_k, Tensor logsumexp, float dropout_p, Tensor philox_seed, Tensor philox_offset, int custom_mask_type, bool bias_requires_grad, float? scale=None) -> (Tensor, Tensor, Tensor, Tensor)",
  crossEntropyLoss:
    "aten::cross_entropy_loss(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, SymInt ignore_index=-100, float label_smoothing=0.0) -> Tensor",
  dropout: "aten::dropout(Tensor input, float p, bool train) -> Tensor",

  // shape and selection
  view: "aten::view(Tensor self, SymInt[] size) -> Tensor",
  reshape: "aten::reshape(Tensor self, SymInt[] shape) -> Tensor",
  transpose: "aten::transpose.int(Tensor self, int dim0, int dim1) -> Tensor",
  t: "aten::t(Tensor self) -> Tensor",
  unsqueeze: "aten::unsqueeze(Tensor self, int dim) -> Tensor",
  expand:
    "aten::expand(Tensor self, SymInt[] size, bool implicit=False) -> Tensor",
  slice:
    "aten::slice.Tensor(Tensor self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor",
  cat: "aten::cat(Tensor[] tensors, int dim=0) -> Tensor",
  indexSelect:
    "aten::index_select(Tensor self, int dim, Tensor index) -> Tensor",
  indexCopy:
    "aten::index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor",
  gather:
    "aten::gather(Tensor self, int dim, Tensor index, bool sparse_grad=False) -> Tensor",
  scatter:
    "aten::scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
  contiguous:
    "aten::contiguous(Tensor self, MemoryFormat memory_format=0) -> Tensor",
  tril: "aten::tril(Tensor self, SymInt diagonal=0) -> Tensor",
  complex: "aten::complex(Tensor real, Tensor imag) -> Tensor",
  conjPhysical: "aten::conj_physical(Tensor self) -> Tensor",
  viewAsComplex: "aten::view_as_complex(Tensor self) -> Tensor",
  viewAsReal: "aten::view_as_real(Tensor self) -> Tensor",

  // memory, types and devices
  copy_:
    "aten::copy_(Tensor self, Tensor src, bool non_blocking=False) -> Tensor",
  zero_: "aten::zero_(Tensor self) -> Tensor",
  clone: "aten::clone(Tensor self, MemoryFormat? memory_format=None) -> Tensor",
  detach: "aten::detach(Tensor self) -> Tensor",
  viewDtype: "aten::view.dtype(Tensor self, ScalarType dtype) -> Tensor",
  toDtype:
    "aten::to.dtype(Tensor self, ScalarType dtype, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor",
  pinMemory: "aten::pin_memory(Tensor self, Device? device=None) -> Tensor",
  toDevice:
    "aten::to.device(Tensor self, Device device, ScalarType dtype, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor",

  // random numbers from the default generator
  rand:
    "aten::rand(SymInt[] size, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
  randn:
    "aten::randn(SymInt[] size, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
  randperm:
    "aten::randperm(SymInt n, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
  random_:
    "aten::random_.from(Tensor self, int from, int? to, Generator? generator=None) -> Tensor",
  uniform_:
    "aten::uniform_(Tensor self, float from=0, float to=1, Generator? generator=None) -> Tensor",
  normal_:
    "aten::normal_(Tensor self, float mean=0, float std=1, Generator? generator=None) -> Tensor",

  // training
  isLeaf: "aten::is_leaf(Tensor self) -> bool",
  backward:
    "aten::_backward(Tensor self, Tensor[] inputs, Tensor? gradient=None, bool? retain_graph=None, bool create_graph=False) -> ()",
  fusedAdamW_:
    "aten::_fused_adamw_(Tensor[] self, Tensor[] grads, Tensor[] exp_avgs, Tensor[] exp_avg_sqs, Tensor[] max_exp_avg_sqs, Tensor[] state_steps, float lr, float beta1, float beta2, float weight_decay, float eps, bool amsgrad, bool maximize, Tensor? grad_scale=None, Tensor? found_inf=None) -> ()",
} as const;
