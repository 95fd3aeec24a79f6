/** @type {import('./en.js').Strings} */
const strings = {
	// ページ
	title: 'アシスタント',
	greeting: '質問を入力してください。回答は作成されるにつれて、ここに順次表示されます。',
	suggestions: '質問の例',
	newChat: '新しいチャット',
	newChatStarted: '新しいチャットを始めました。',
	openChat: 'チャットを開く',
	closeChat: 'チャットを閉じる',

	// 質問の入力欄
	yourMessage: 'メッセージ',
	placeholder: '質問を入力',
	send: '送信',
	stop: '停止',
	keysHint: '{send} で送信、{newLine} で改行します。',
	sendKey: 'Enter',
	newLineKey: 'Shift + Enter',
	editing: '直前の質問を編集しています。',
	cancelEdit: 'キャンセル',

	// 会話
	conversation: '会話',
	you: 'あなた',
	assistant: 'アシスタント',
	answering: 'アシスタントが回答しています。',
	answerDone: '回答が完了しました。',
	newMessage: '新しいメッセージ',
	jumpToNewest: '最新のメッセージへ移動',
	shortened: '会話が長いため、アシスタントに送られるのは最後の部分だけです。',

	// 質問と回答に対する操作
	copy: 'コピー',
	copied: 'コピーしました',
	copyFailed: 'コピーできませんでした',
	copyAnswer: '回答をコピー',
	askAgain: 'もう一度質問',
	edit: '編集',
	editQuestion: '質問を編集',
	tryAgain: '再試行',
	helpful: '役に立った',
	notHelpful: '役に立たなかった',
	thanks: 'ご意見ありがとうございます。',
	sources: '出典',

	// 回答の要素
	code: 'コード',
	copyCode: 'コードをコピー',
	table: '表',
	image: '画像',

	// ツール
	toolRunning: '「{tool}」を使用しています…',
	toolDone: '「{tool}」を使用しました',
	toolNoResult: '{tool}：結果なし',
	toolFailed: '{tool}：失敗',
	arguments: '入力',
	result: '結果',
	tools: {
		web_search: { name: 'ウェブ検索', running: 'ウェブを検索しています…', done: 'ウェブを検索しました' },
		read_url: { name: 'ページの閲覧', running: 'ページを読んでいます…', done: 'ページを読みました' },
		search_documents: { name: '文書の検索', running: '文書を検索しています…', done: '文書を検索しました' },
		run_code: { name: 'コードの実行', running: 'コードを実行しています…', done: 'コードを実行しました' },
		generate_image: { name: '画像の作成', running: '画像を作成しています…', done: '画像を作成しました' },
		calculator: { name: '計算', running: '計算しています…', done: '計算しました' },
	},

	// 回答の終わり方
	stopped: '停止しました。',
	stoppedElsewhere: '別の場所で停止されました。',
	emptyAnswer: 'アシスタントから空の回答が届きました。',
	lengthReached: '回答が長さの上限に達したため、ここで終わっています。',
	filtered: 'コンテンツフィルターにより、回答はここで終わっています。',
	stepMissing: '回答が完成する前にアシスタントが終了しました。',
	maybeUnsent: 'このメッセージは送信されていない可能性があります。',

	// 問題が起きたとき
	unreachable: '現在、アシスタントに接続できません。',
	notAllowed: 'このチャットは正しく設定されていません。サイトの管理者にお知らせください。',
	tooSlow: 'アシスタントの応答に時間がかかりすぎました。',
	tooMany: 'メッセージが多すぎます。しばらくお待ちください。',
	busy: 'アシスタントが混み合っています。',
	tooLong: 'メッセージが長すぎます。短くして送信してください。',
	answerTooLarge: '回答が大きすぎるため、このページでは表示できません。',
	blocked: 'このメッセージはアシスタントに受け付けられませんでした。表現を変えてお試しください。',
	brokeOff: 'アシスタントとの接続が切れました。',
	sendingTooSlow: 'メッセージの送信に時間がかかりすぎました。',
	siteUnreachable: 'サイトに接続できません。通信環境を確認してください。',
	signedOut: 'サインインの有効期限が切れました。ページを再読み込みして、もう一度サインインしてください。',
	foreign: 'ファイアウォールやサインインページなどが、アシスタントの代わりに応答しました。ページを再読み込みしてください。',
	pageFailed: 'このページで問題が発生しました。',
	didNotWork: 'うまくいきませんでした：{message}',

	// 待ち時間
	tryAgainIn: '{time}にもう一度お試しください。',
	tryAgainAuto: '時間が来たら自動で再送信する',
	canAskNow: 'もう一度質問できるようになりました。',
	tryingAgainIn: '{time}に再試行します。',
	tryingAgain: '再試行しています。',
	connectionLost: '接続が切れました。',
	reconnectingIn: '{time}に再接続します。',
	reconnecting: '再接続しています。',
	offlineUnsent: 'オフラインです。オンラインに戻り次第、メッセージを送信します。',
	offlineAnswer: 'オフラインです。オンラインに戻り次第、回答を再開します。',
	messagesLeft: {
		other: '今送信できるメッセージは残り {n} 件です。',
	},
	moreMessagesIn: '{time}にまた送信できるようになります。',

	sentenceGap: '',
};

export default strings;
